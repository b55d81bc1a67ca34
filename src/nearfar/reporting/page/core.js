// The data, the few ways to make elements, and how numbers are written. User text only ever becomes a text node or an
// attribute value that the browser does not run; no string is ever parsed as markup.

const data = JSON.parse(document.getElementById("data").textContent);

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat()) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return node;
}
const el = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

const ICONS = {
  good: "M5 12.5l4.5 4.5L19 7.5",
  unclear: "M9 9.2a3 3 0 1 1 4.4 2.7c-.9.5-1.4 1-1.4 2.1M12 17.6v.1",
  bad: "M7 7l10 10M17 7L7 17",
  mixed: "M7 4v15M3.5 8L7 4l3.5 4M17 20V5M13.5 16l3.5 4 3.5-4",
  alarm: "M12 4L2.8 20h18.4L12 4zM12 10.5v4M12 17.3v.1",
  ahead: "M12 19V5M6 11l6-6 6 6",
  behind: "M12 5v14M6 13l6 6 6-6",
  same: "M5 9.5h14M5 14.5h14",
  open: "M9 6l6 6-6 6",
  copy: "M9 9h10v11H9zM5 15V4h10",
  play: "M8 5v14l11-7z",
  pin: "M12 21v-6M8 3h8l-1 6 3 4v2H6v-2l3-4-1-6z",
};
const icon = (name) => svg("svg", { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true" }, svg("path", { d: ICONS[name] }));

// Names come from outside: "constructor" must not find what every object inherits.
const own = (table, name) => (Object.hasOwn(table, name) ? table[name] : undefined);
const count = (n) => n.toLocaleString("en-US");
const plural = (n, one, many) => `${count(n)} ${n === 1 ? one : many}`;
const minus = (text) => text.replace(/-/g, "\u2212");
// The same for the numbers of a sentence, whose other hyphens stay.
const withMinus = (text) => text.replace(/(^|[\s(:])-(?=\d)/g, "$1\u2212");
const percent = (x, digits = 1) => (100 * x).toFixed(digits);
const cosine = (x) => (x === null ? "\u2013" : minus(x.toFixed(Math.abs(x) > 0.9995 ? 4 : 3)));
function number(x) {
  const size = Math.abs(x);
  if (x === 0) return "0";
  if (size >= 1e6) return minus(`${Number((x / 1e6).toPrecision(3))}M`);
  if (size >= 1e3) return minus(count(Math.round(x)));
  if (size < 1e-3) return minus(x.toExponential(1));
  return minus(String(Number(x.toPrecision(3))));
}

// A sample is [key, label, number of its picture, text, number of its sound].
function sample(i) {
  const [key, label, image, text, media] = data.samples[i];
  return { key, label, text, image: image === null ? null : data.images[image], media: media === null ? null : data.media[media] };
}
const lastPart = (key) => key.split("/").filter(Boolean).pop() || key;

function thumb(one) {
  if (one.image !== null) {
    const picture = el("img", { alt: one.key, decoding: "async", src: one.image });
    picture.addEventListener("load", () => picture.classList.toggle("small", picture.naturalWidth <= 32));
    return el("div", { class: "thumb" }, picture);
  }
  if (one.text !== null) return el("div", { class: "thumb is-text" }, one.text);
  return el("div", { class: "thumb is-key", title: one.key }, lastPart(one.key));
}
// A thumbnail that opens large, and plays where it has a sound.
function openable(one) {
  if (one.image === null && one.text === null && one.media === null) return thumb(one);
  const large = el("button", { class: "enlarge", type: "button", "aria-label": `Enlarge ${one.key}`, onclick: (event) => enlarge(one, event.currentTarget) }, thumb(one));
  return one.media === null ? large : el("div", { class: "playable" }, large, playButton(one));
}
// Options of commands in a sentence, which are not broken behind their hyphens.
function prose(text) {
  return text.split(/(--[a-z][a-z-]*)/).map((part, i) => i % 2 === 1 ? el("span", { class: "option" }, part) : part);
}
const player = new Audio();
function playButton(one) {
  return el("button", { class: "play", type: "button", "aria-label": `Play ${one.key}`, onclick: () => play(one) }, icon("play"));
}
function play(one) {
  player.src = one.media;
  player.play();
}
// Escape closes it, and the arrow keys go on to the next sample on the page.
function enlarge(one, from) {
  const picture = one.image === null ? null : el("img", { alt: one.key, src: one.image });
  if (picture) picture.addEventListener("load", () => picture.classList.toggle("small", picture.naturalWidth <= 64));
  const dialog = el("dialog", { class: "large", onclick: () => dialog.close(), onclose: () => dialog.remove() },
    picture, one.media !== null && el("audio", { controls: true, src: one.media, onclick: (event) => event.stopPropagation() }),
    one.text !== null && el("p", { class: "text" }, one.text), el("p", { class: "key" }, one.key, " ", tag(one)));
  dialog.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by || event.target instanceof HTMLMediaElement) return;
    event.preventDefault();
    const all = [...document.querySelectorAll(".enlarge")].filter((button) => button.checkVisibility());
    const next = all[(all.indexOf(from) + by + all.length) % all.length];
    dialog.close();
    dialog.remove();
    next.scrollIntoView({ block: "nearest" });
    next.focus();
    next.click();
  });
  document.body.append(dialog);
  dialog.showModal();
}
// What a figure means, shown beside it while it is pointed at or has the focus; Escape hides it.
const hint = el("div", { id: "hint", class: "hint-box", role: "tooltip", hidden: true });
document.body.append(hint);
function hinted(node, text) {
  if (!text) return node;
  node.dataset.hint = text;
  return node;
}
function showHint(node) {
  hint.hidden = node === null;
  document.querySelector("[aria-describedby=hint]")?.removeAttribute("aria-describedby");
  if (node === null) return;
  hint.textContent = node.dataset.hint;
  node.setAttribute("aria-describedby", "hint");
  const [box, edge] = [node.getBoundingClientRect(), document.documentElement.clientWidth];
  const above = box.top - hint.offsetHeight - 8;
  hint.style.left = `${Math.max(8, Math.min(edge - hint.offsetWidth - 8, box.left))}px`;
  hint.style.top = `${above > 64 ? above : box.bottom + 8}px`;
}
const hintedAt = (event) => (event.target instanceof Element ? event.target.closest("[data-hint]") : null);
for (const kind of ["pointerover", "focusin", "click"]) document.addEventListener(kind, (event) => showHint(hintedAt(event)));
for (const kind of ["focusout", "scroll"]) document.addEventListener(kind, () => showHint(null), { passive: true });
document.addEventListener("keydown", (event) => event.key === "Escape" && showHint(null));

const hasText = (one) => one.image === null && one.text !== null;
// Where the key is all that there is to show, the thumbnail shows it.
const nameLine = (one) => one.image === null && one.text === null ? null : el("span", { class: "name-line", title: one.key }, lastPart(one.key));
const tag = (one) => (one.label === null ? null : el("span", { class: "tag", title: one.label }, one.label));

// A part of the page: its heading, one sentence, and what `draw` returns. A part that fails says so, and the rest stands.
const main = document.getElementById("main");
const contents = document.getElementById("contents");
function part(id, heading, short, lead, draw) {
  const body = el("div", { class: "body" });
  const section = el("section", { class: "part", id, "aria-labelledby": `${id}-heading` },
    el("h2", { id: `${id}-heading` }, heading), lead && el("p", { class: "lead" }, lead), body);
  main.append(section);
  contents.append(el("a", { href: `#${id}` }, short));
  attempt(body, draw);
}
function attempt(body, draw) {
  try {
    draw(body);
  } catch (error) {
    console.error(error);
    body.append(el("p", { class: "soft" }, "This part could not be drawn."));
  }
}

function onResize(node, draw) {
  let width = 0;
  new ResizeObserver(() => {
    if (node.clientWidth !== width) {
      width = node.clientWidth;
      draw();
    }
  }).observe(node);
}
