// What was found for each query, and, where the page is served, the form to search by. Only keys, typed words and the
// content of dropped files are sent, to the server that sent the page.

main.classList.add("search");
const live = data.live;
const list = el("div", { id: "results" });
const said = el("p", { class: "said", role: "status" });

function draw() {
  list.replaceChildren(...data.results.map((result) => {
    const hits = result.hits.map((hit) => ({ ...hit, one: sample(hit.item) }));
    const query = sample(result.query);
    return el("section", { class: "result", "aria-label": `Found for ${query.key}` },
      el("div", { class: "asked" }, el("h2", {}, "Query"), openable(query), query.text === null && nameLine(query), tag(query)),
      hits.length === 0 ? el("p", { class: "soft" }, "Nothing was found.")
        : el("div", { class: hits.some((hit) => hasText(hit.one)) ? "hits has-text" : "hits" }, hits.map(hit)));
  }));
}

function hit({ one, similarity, about }) {
  const further = Object.entries(about).map(([name, value]) => `${name} ${value}`).join(" \u00b7 ");
  const more = live !== null && el("button", { class: "more", type: "button", "aria-label": `More like ${one.key}`, onclick: () => byKey(one.key) }, "more");
  return el("figure", { class: "hit", tabindex: 0, "data-key": one.key },
    openable(one), el("figcaption", {}, el("p", { class: "cosine num" }, el("span", {}, cosine(similarity)), more),
      nameLine(one), tag(one), further && el("p", { class: "about", title: further }, further)));
}

// Arrows move between hits; Enter looks for more like the one that has the focus.
list.addEventListener("keydown", (event) => {
  const all = [...list.querySelectorAll(".hit")];
  const at = all.indexOf(event.target);
  if (at < 0) return;
  if (event.key === "Enter" && live !== null) {
    event.preventDefault();
    byKey(all[at].dataset.key);
    return;
  }
  const across = all.filter((one) => one.offsetTop === all[at].offsetTop && one.parentNode === all[at].parentNode).length;
  const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: across, ArrowUp: -across }[event.key];
  if (step === undefined) return;
  event.preventDefault();
  if (at + step < 0) document.getElementById("query")?.focus();
  else (all[at + step] || all[all.length - 1]).focus();
});

let latest = 0;
async function ask(path, headers, body, words) {
  const number = ++latest;
  said.classList.remove("is-wrong");
  said.textContent = `Looking for ${words} \u2026`;
  try {
    const answer = await fetch(path, { method: "POST", headers: { ...headers, "X-Nearfar": "1" }, body });
    const found = await answer.json();
    if (number !== latest) return; // a later question has been asked
    if (!answer.ok) throw new Error(found.error);
    Object.assign(data, found);
    draw();
    const n = data.results.reduce((sum, result) => sum + result.hits.length, 0);
    said.textContent = `${plural(n, "sample", "samples")} for ${words}, in ${found.milliseconds} ms`;
  } catch (error) {
    if (number !== latest) return;
    said.classList.add("is-wrong");
    said.textContent = error instanceof TypeError ? "The server does not answer: is nearfar still running?" : error.message;
  }
}
const settings = () => ({ k: Number(document.getElementById("k").value), where: document.getElementById("where").value.trim() });
function byWords(words) {
  if (words.trim() === "") return;
  ask("/search", { "Content-Type": "application/json" }, JSON.stringify({ ...settings(), query: words }), `\u201c${words.slice(0, 60)}\u201d`);
}
function byKey(key) {
  document.getElementById("query").value = key;
  ask("/search", { "Content-Type": "application/json" }, JSON.stringify({ ...settings(), key }), key);
  window.scrollTo({ top: 0 });
}
function byFile(file) {
  if (file.size > live.most) {
    said.classList.add("is-wrong");
    said.textContent = `${file.name} has ${count(file.size)} bytes; at most ${count(live.most)} are taken.`;
    return;
  }
  const { k, where } = settings();
  const ending = (file.name.match(/\.\w+$/) || [""])[0].toLowerCase();
  ask(`/file?${new URLSearchParams({ k, where, ending })}`, { "Content-Type": "application/octet-stream" }, file, file.name);
}

if (live !== null) {
  const query = el("input", { id: "query", type: "search", autocomplete: "off", spellcheck: "false", placeholder: live.takes, maxlength: 100000 });
  const where = el("input", { id: "where", autocomplete: "off", spellcheck: "false", placeholder: live.example, maxlength: 2000 });
  const k = el("select", { id: "k" }, [10, 20, 50, 100].map((n) => el("option", { value: n, selected: n === 20 }, n)));
  const pick = el("input", { type: "file", id: "file", accept: live.endings.join(","), onchange: () => pick.files[0] && byFile(pick.files[0]) });
  const form = el("form", { onsubmit: (event) => { event.preventDefault(); byWords(query.value); } },
    el("label", { class: "wide" }, "Search for", query), el("label", { class: "wide" }, "Only where", where),
    el("label", {}, "Show", k), el("button", { class: "button main" }, "Search"),
    live.endings.length > 0 && el("label", { class: "button pick" }, "File \u2026", pick));
  main.append(el("div", { class: "ask" }, form, said,
    el("p", { class: "soft hint" }, `${count(live.samples)} samples. Columns: ${live.columns.join(", ")}. `,
      live.endings.length > 0 && "Drop a file anywhere. ", "Keys: / to type, arrows between hits, Enter for more like one.")));
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !["INPUT", "SELECT"].includes(document.activeElement.tagName) && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      query.select();
    } else if (event.key === "Escape" && document.activeElement === query) query.blur();
    else if (event.key === "ArrowDown" && document.activeElement === query) list.querySelector(".hit")?.focus();
  });
  if (live.endings.length > 0) {
    const over = (on) => document.body.classList.toggle("is-over", on);
    document.addEventListener("dragover", (event) => { event.preventDefault(); over(true); });
    document.addEventListener("dragleave", (event) => { if (event.relatedTarget === null) over(false); });
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      over(false);
      if (event.dataTransfer.files.length > 0) byFile(event.dataTransfer.files[0]);
    });
  }
  query.focus();
} else {
  main.append(el("h1", {}, "Search"));
}
main.append(list);
draw();
