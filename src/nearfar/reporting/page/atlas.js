// The map on a page of its own: coloured by any column, searched, and a lasso whose samples are listed and saved.

const LISTED = 120;
const STEPS = 24; // shades of a column of numbers
const NOTHING = "The map has no samples.";
const n = data.items.length;
const items = data.items.map(sample);
const places = items.map((_, i) => [data.xy[2 * i] / 65535, data.xy[2 * i + 1] / 65535]);

const top = el("section", { class: "overview", id: "verdict", "aria-label": "Overview" });
main.append(top);
attempt(top, (body) => body.append(
  el("p", { class: "kicker" }, "Map"),
  el("h1", { class: "key" }, data.title),
  el("dl", { class: "facts" }, data.facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))))));
part("map", "Where samples lie", "Map", "Similar samples lie together. Between far groups distances say little; the neighbours listed come from the vectors themselves.", drawAtlas);
part("trust", "How far to trust it", "Trust", null, (body) => body.append(
  el("p", {}, data.fidelity || "There are too few samples to judge the map."),
  data.notes.map((note) => el("p", { class: "soft" }, prose(note)))));

// A column as classes that can be hidden; numbers are classes of equal width, from dark to light.
function classesOf(column) {
  if (column.names) {
    const labels = column.of.map((c) => (c < 0 ? null : column.names[c]));
    const classes = labelClasses(labels, column.name === "cluster" ? "between clusters" : "none");
    return { ...classes, of: labels.map((label) => (label === null ? classes.none : classes.index.get(label))), label: (i) => labels[i] };
  }
  const known = column.values.filter((value) => value !== null);
  const [low, high] = [known.reduce((a, b) => Math.min(a, b)), known.reduce((a, b) => Math.max(a, b))];
  const bin = (value) => Math.min(STEPS - 1, Math.floor(((value - low) / (high - low || 1)) * STEPS));
  const list = Array.from({ length: STEPS }, (_, i) => ({ colour: shade(i / (STEPS - 1)) }));
  const hollow = known.length < n;
  if (hollow) list.push({ colour: NO_LABEL, hollow });
  return { list, low, high, of: column.values.map((value) => (value === null ? STEPS : bin(value))), label: (i) => (column.values[i] === null ? null : number(column.values[i])) };
}
// From blue over green to yellow, rising in lightness, so that it is read without colours too.
const shade = (t) => `hsl(${Math.round(265 - 210 * t)} ${Math.round(55 + 25 * t)}% ${Math.round(30 + 38 * t)}%)`;

function drawAtlas(body) {
  if (n === 0) {
    body.append(el("p", { class: "soft" }, NOTHING));
    return;
  }
  let [hovered, pinned, selected, line, lassoing] = [null, null, null, null, false];
  let classes = null;
  let shown = [];
  const screen = new Float32Array(2 * n);

  const canvas = el("canvas", { tabindex: 0, role: "application", "aria-label": `Map of ${count(n)} samples. Arrow keys move, plus and minus zoom, zero resets, Escape clears. The search field selects samples by name, label or text.` });
  const tip = el("div", { class: "tip", hidden: true });
  const panel = el("div", { class: "panel" });
  const stage = el("div", { class: "stage" }, canvas, tip);
  const scatter = makeScatter(canvas, { draw, hover, click, lasso });
  const lassoButton = el("button", { class: "button", type: "button", "aria-pressed": "false", title: "Draw around samples to select them; Shift and a drag do it too", onclick: () => setLasso(!lassoing) }, "Lasso");
  stage.append(el("div", { class: "tools" }, lassoButton,
    el("button", { class: "button", type: "button", "aria-label": "Zoom in", onclick: () => scatter.zoomBy(1.6) }, "+"),
    el("button", { class: "button", type: "button", "aria-label": "Zoom out", onclick: () => scatter.zoomBy(1 / 1.6) }, "\u2212"),
    el("button", { class: "button", type: "button", onclick: scatter.reset }, "Reset")));
  const by = el("select", { id: "by", onchange: () => colourBy(Number(by.value)) }, data.colours.map((column, i) => el("option", { value: i }, column.name)));
  by.value = data.chosen;
  const legendPlace = el("div", {});
  body.append(el("div", { class: "by" }, el("label", { for: "by" }, "Colour"), by), legendPlace, el("div", { class: "card map" }, stage, panel));

  const field = el("input", { type: "search", placeholder: "Select by name, label or text", "aria-label": "Select samples by name, label or text" });
  const message = el("p", { class: "hint", role: "status" });
  const details = el("div", {});
  panel.append(el("form", { class: "find", onsubmit: (event) => { event.preventDefault(); search(field.value); } }, field, el("button", { class: "button", type: "submit" }, "Select")), message, details);
  colourBy(data.chosen);
  showDetails();
  body.addEventListener("keydown", (event) => event.key === "Escape" && !document.querySelector("dialog") && clear());

  function colourBy(at) {
    classes = classesOf(data.colours[at]);
    shown = classes.list.map(() => true);
    if (classes.low === undefined) legendPlace.replaceChildren(legend(classes, shown, scatter.redraw).node);
    else {
      const ramp = el("span", { class: "ramp" });
      ramp.style.background = `linear-gradient(90deg, ${classes.list.slice(0, STEPS).map((one) => one.colour).join(", ")})`;
      legendPlace.replaceChildren(el("div", { class: "scale num" }, number(classes.low), ramp, number(classes.high)));
    }
    scatter.redraw();
    showDetails();
  }
  function setLasso(on) {
    lassoing = on;
    lassoButton.setAttribute("aria-pressed", String(on));
    scatter.lassoBy(on);
  }

  function draw() {
    const paint = canvas.getContext("2d");
    const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const { view } = scatter;
    const sharp = window.devicePixelRatio || 1;
    paint.setTransform(sharp, 0, 0, sharp, 0, 0);
    paint.clearRect(0, 0, view.width, view.height);
    for (let i = 0; i < n; i++) [screen[2 * i], screen[2 * i + 1]] = scatter.locate(places[i]);
    const small = view.width < 480 ? 0.8 : 1;
    const radius = small * Math.max(1.1, Math.min(6, 110 / Math.sqrt(n))) * Math.min(view.zoom ** 0.45, 3.2);
    const bright = pinned === null ? selected : new Set([pinned, ...data.neighbours[pinned]]);
    for (const dim of bright === null ? [null] : [true, false]) {
      paint.globalAlpha = dim === null ? 0.8 : dim ? 0.13 : 0.95;
      classes.list.forEach((one, c) => {
        if (!shown[c]) return;
        paint.fillStyle = paint.strokeStyle = one.colour;
        paint.lineWidth = 1.1;
        paint.beginPath();
        for (let i = 0; i < n; i++) {
          if (classes.of[i] !== c || (dim !== null && bright.has(i) === dim)) continue;
          const [x, y] = [screen[2 * i], screen[2 * i + 1]];
          if (x < -9 || y < -9 || x > view.width + 9 || y > view.height + 9) continue;
          paint.moveTo(x + radius, y);
          paint.arc(x, y, radius, 0, 2 * Math.PI);
        }
        if (one.hollow) paint.stroke();
        else paint.fill();
      });
    }
    paint.globalAlpha = 1;
    const ring = (i, size, edge) => {
      paint.beginPath();
      paint.arc(screen[2 * i], screen[2 * i + 1], size, 0, 2 * Math.PI);
      paint.fillStyle = classes.list[classes.of[i]].colour;
      paint.fill();
      paint.lineWidth = 2;
      paint.strokeStyle = edge;
      paint.stroke();
    };
    if (pinned !== null) {
      paint.strokeStyle = colour("--text");
      paint.globalAlpha = 0.6;
      paint.beginPath();
      for (const j of data.neighbours[pinned]) {
        paint.moveTo(screen[2 * pinned], screen[2 * pinned + 1]);
        paint.lineTo(screen[2 * j], screen[2 * j + 1]);
      }
      paint.stroke();
      paint.globalAlpha = 1;
      for (const j of data.neighbours[pinned]) ring(j, radius + 1.5, colour("--card"));
      ring(pinned, radius + 4, colour("--text"));
    }
    if (hovered !== null) ring(hovered, radius + 3, colour("--text"));
    if (line !== null) {
      paint.beginPath();
      line.forEach(([x, y], i) => (i === 0 ? paint.moveTo(x, y) : paint.lineTo(x, y)));
      paint.closePath();
      paint.fillStyle = paint.strokeStyle = colour("--accent");
      paint.globalAlpha = 0.12;
      paint.fill();
      paint.globalAlpha = 1;
      paint.lineWidth = 1.5;
      paint.stroke();
    }
  }

  function nearest(x, y, reach) {
    let [best, distance] = [null, reach];
    for (let i = 0; i < n; i++) {
      if (!shown[classes.of[i]]) continue;
      const apart = Math.hypot(screen[2 * i] - x, screen[2 * i + 1] - y);
      if (apart < distance) [best, distance] = [i, apart];
    }
    return best;
  }
  function hover(x, y, kind) {
    const found = x === null || kind === "touch" ? null : nearest(x, y, 12);
    if (found !== hovered) lookAt(found);
  }
  function click(x, y, kind) {
    const found = nearest(x, y, kind === "touch" ? 24 : 12);
    if (found === null && pinned === null) select(null);
    pin(found);
    lookAt(kind === "touch" ? null : found);
  }
  function lookAt(i) {
    hovered = i;
    canvas.style.cursor = i === null ? "" : "pointer";
    scatter.redraw();
    tip.hidden = i === null;
    if (i === null) return;
    tip.replaceChildren(thumb(items[i]), el("div", { class: "key" }, items[i].key), said(i) || "");
    scatter.putBeside(tip, [screen[2 * i], screen[2 * i + 1]]);
  }
  function lasso(corners, done) {
    line = done ? null : corners;
    scatter.redraw();
    if (!done) return;
    if (corners.length < 3) return;
    const inside = (x, y) => corners.reduce((odd, [ax, ay], i) => {
      const [bx, by] = corners[(i + 1) % corners.length];
      return (ay > y) !== (by > y) && x < ((bx - ax) * (y - ay)) / (by - ay) + ax ? !odd : odd;
    }, false);
    const found = [];
    for (let i = 0; i < n; i++) if (shown[classes.of[i]] && inside(screen[2 * i], screen[2 * i + 1])) found.push(i);
    setLasso(false);
    message.textContent = found.length === 0 ? "No sample lies in the lasso." : "";
    select(found);
  }
  function search(text) {
    const wanted = text.trim().toLowerCase();
    if (wanted === "") return clear();
    const has = (part) => part !== null && part.toLowerCase().includes(wanted);
    const found = items.flatMap((item, i) => ([item.key, item.label, item.text, classes.label(i)].some(has) ? [i] : []));
    message.textContent = found.length === 0 ? "No sample on this map matches." : "";
    select(found);
  }
  function select(found) {
    selected = found === null || found.length === 0 ? null : new Set(found);
    pin(null);
  }
  function clear() {
    field.value = message.textContent = "";
    setLasso(false);
    select(null);
    lookAt(null);
  }
  function pin(i) {
    pinned = i;
    showDetails();
    scatter.redraw();
  }
  // A sample's label, or else its class of the column that colours the map.
  function said(i) {
    const label = items[i].label === null ? classes.label(i) : items[i].label;
    return label === null ? null : el("span", { class: "tag", title: label }, label);
  }

  function showDetails() {
    if (pinned !== null) details.replaceChildren(...detailsOf(pinned));
    else if (selected !== null) details.replaceChildren(...detailsOfSelection([...selected]));
    else details.replaceChildren(el("p", { class: "hint" }, "Point at a dot to see its sample, click or tap it to pin it. Draw a lasso (the button, or Shift and a drag) to list what lies inside."));
  }
  function detailsOf(i) {
    const item = items[i];
    return [
      el("div", { class: hasText(item) ? "pinned has-text" : "pinned" }, openable(item),
        el("div", {}, el("div", { class: "key" }, item.key), said(i), el("button", { class: "button unpin", type: "button", onclick: () => pin(null) }, icon("pin"), selected === null ? "Unpin" : "Back to the selection"))),
      el("h3", {}, "Nearest by the vectors"), tiles(data.neighbours[i])];
  }
  function detailsOfSelection(rows) {
    const counts = new Map();
    for (const i of rows) counts.set(classes.label(i), (counts.get(classes.label(i)) || 0) + 1);
    const most = [...counts].filter(([label]) => label !== null).sort((a, b) => b[1] - a[1]).slice(0, 6);
    return [
      el("p", { class: "selected" }, el("b", { class: "num" }, plural(rows.length, "sample", "samples")), " selected"),
      el("div", { class: "do" },
        el("a", { class: "button", download: "selection.csv", href: URL.createObjectURL(new Blob([csv(rows)], { type: "text/csv" })) }, "Save as csv"),
        el("button", { class: "button", type: "button", onclick: clear }, "Clear")),
      most.length > 1 || counts.size > 1 ? el("ul", { class: "most" }, most.map(([label, times]) => el("li", {}, el("span", { class: "tag", title: label }, label), el("span", { class: "num soft" }, ` ${count(times)}`)))) : null,
      tiles(rows.slice(0, LISTED)),
      rows.length > LISTED ? el("p", { class: "hint" }, `and ${count(rows.length - LISTED)} more, in the csv.`) : null].filter(Boolean);
  }
  function tiles(rows) {
    const found = rows.map((i) => items[i]);
    return el("ul", { class: found.some(hasText) ? "near has-text" : "near" }, rows.map((i, at) => el("li", {}, el("button", {
      type: "button", title: found[at].label === null ? found[at].key : `${found[at].key}\n${found[at].label}`, "aria-label": found[at].key,
      onclick: () => pin(i), onpointerenter: () => { hovered = i; scatter.redraw(); }, onpointerleave: () => { hovered = null; scatter.redraw(); },
    }, thumb(found[at])))));
  }
}

// The selection as a table: with the paths of files it is data for nearfar train and nearfar audit.
function csv(rows) {
  // A spreadsheet would run these as formulas.
  const guarded = (text) => (/^[=+\-@\t\r]/.test(text) ? `'${text}` : text);
  const cell = (text) => (/[",\r\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text);
  const lines = [["key", "label", "x", "y", ...(data.origin === null ? [] : ["path"])]];
  for (const i of rows) {
    const { key, label } = items[i];
    lines.push([guarded(key), guarded(label || ""), places[i][0].toFixed(5), places[i][1].toFixed(5), ...(data.origin === null ? [] : [`${data.origin}/${key}`])]);
  }
  return lines.map((line) => `${line.map(cell).join(",")}\r\n`).join("");
}
