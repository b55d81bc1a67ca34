// The audit: counts first, then each list with its samples side by side.

const top = el("section", { class: "overview", id: "verdict", "aria-label": "Overview" });
main.append(top);
attempt(top, drawOverview);

function drawOverview(body) {
  body.append(
    el("p", { class: "kicker" }, "Audit"),
    el("h1", { class: "key" }, data.title),
    el("dl", { class: "facts" }, data.facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)))),
    el("ul", { class: "counts" }, data.lists.map((list) =>
      el("li", {}, el("a", { class: `card count${list.flagged > 0 ? " has-some" : ""}`, href: `#${list.name}` },
        el("b", { class: "num" }, count(list.flagged)), el("span", {}, list.title))))),
    data.notes.map((note) => el("p", { class: "soft" }, prose(note))));
}

for (const list of data.lists) {
  const shown = list.entries.length;
  const said = list.flagged === 0 ? "None is flagged; the most suspicious come first." : `${plural(list.flagged, "is", "are")} flagged`
    + (list.ranked > shown ? `; the first ${shown} of ${count(list.ranked)} are shown, all are in ${list.name}.csv.` : ".");
  part(list.name, list.title, list.name[0].toUpperCase() + list.name.slice(1), `${said} ${list.threshold}`, (body) => drawList(body, list));
}
for (const [at, group] of data.groups.entries()) {
  if (group.entries.length === 0) continue;
  part(`group-${at}`, group.title, group.title.split(" ")[0], null, (body) => drawGroup(body, group));
}
if (data.defects_total > 0) {
  part("defects", "Defects", "Defects", "What is wrong with single samples or columns, though they can be read.", (body) => drawNames(body, data.defects, data.defects_total));
}
if (data.skipped_total > 0) {
  part("unreadable", "Unreadable", "Unreadable", "These could not be read, and were left out of everything else.", (body) => drawNames(body, data.skipped, data.skipped_total));
}

function drawList(body, list) {
  if (list.entries.length === 0) {
    body.append(el("p", { class: "soft" }, "There is nothing to list."));
    return;
  }
  const first = list.entries.filter((entry) => entry.flagged);
  const rest = list.entries.filter((entry) => !entry.flagged);
  if (first.length > 0) body.append(cards(first));
  if (rest.length > 0) {
    body.append(el("details", { class: "more", open: first.length === 0 },
      el("summary", {}, icon("open"), `Next, not flagged (${rest.length})`), cards(rest)));
  }
}

function cards(entries) {
  return el("div", { class: "pairs" }, entries.map((entry) => {
    const items = entry.items.map(sample);
    return el("div", { class: `card pair${items.some(hasText) ? " has-text" : ""}${entry.flagged ? "" : " faint"}` },
      el("p", { class: "cosine num" }, el("span", {}, el("b", {}, minus(entry.score.toFixed(2)))),
        el("span", {}, entry.flagged ? "flagged" : "")),
      el("div", { class: items.length > 1 ? "two" : "one" }, items.map((one) =>
        el("figure", {}, openable(one), nameLine(one), tag(one)))),
      entry.suggested !== null && el("p", { class: "suggestion" }, "rather ", el("span", { class: "tag is-suggested" }, entry.suggested)));
  }));
}

function drawGroup(body, group) {
  body.append(el("div", { class: "pairs" }, group.entries.map((entry) => {
    const items = entry.items.map(sample);
    return el("div", { class: items.some(hasText) ? "card pair has-text" : "card pair" },
      el("h3", { class: "about" }, entry.about), el("p", { class: "soft" }, entry.found),
      el("div", { class: "two" }, items.map((one) => el("figure", {}, openable(one), nameLine(one), tag(one)))));
  })));
}

function drawNames(body, rows, total) {
  body.append(
    el("div", { class: "card fold" }, el("dl", {}, rows.map(([key, reason]) =>
      el("div", {}, el("dt", { class: "key" }, key), el("dd", {}, reason))))),
    total > rows.length && el("p", { class: "soft" }, `and ${count(total - rows.length)} more, in the csv.`));
}
