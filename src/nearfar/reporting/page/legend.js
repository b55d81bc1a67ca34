// Classes and their colours, and the list of them by which they are shown or hidden.

// Petroff (2021), "Accessible color sequences for data visualization": ten colours told apart under colour-vision deficiency.
const TEN = ["#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd"];
const MANY_CLASSES = 20;
const NO_LABEL = "#8b8f98";

// The classes of `labels`, one a sample, null where it has none, which `missing` says.
function labelClasses(labels, missing = "no label") {
  const counts = new Map();
  for (const label of labels) if (label !== null) counts.set(label, (counts.get(label) || 0) + 1);
  const names = [...counts.keys()].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  const wheel = (i) => `hsl(${Math.round((360 * i) / names.length)} ${i % 2 ? 62 : 78}% ${[46, 62, 54][i % 3]}%)`;
  const list = names.map((name, i) => ({ name, count: counts.get(name), colour: names.length <= TEN.length ? TEN[i] : wheel(i) }));
  const without = labels.filter((label) => label === null).length;
  const labelled = names.length > 0;
  if (without > 0) list.push({ name: missing, count: without, colour: labelled ? NO_LABEL : TEN[0], hollow: labelled });
  return { list, labelled, none: names.length, index: new Map(names.map((name, i) => [name, i])) };
}

function legend(classes, shown, changed) {
  const buttons = classes.list.map((one, c) => {
    const swatch = el("span", { class: "swatch" });
    if (one.hollow) swatch.style.border = `2px solid ${one.colour}`;
    else swatch.style.background = one.colour;
    return el("button", { type: "button", "aria-pressed": "true", title: one.name, onclick: () => show(c, !shown[c]) },
      swatch, el("span", { class: "name" }, one.name), el("span", { class: "count num" }, count(one.count)));
  });
  function show(c, on) {
    shown[c] = on;
    buttons[c].setAttribute("aria-pressed", String(on));
    changed();
  }
  const all = (on) => classes.list.forEach((_, c) => buttons[c].hidden || show(c, on));
  const filter = el("input", {
    type: "search", placeholder: `Find among ${count(classes.list.length)} classes`, "aria-label": "Find a class",
    oninput: () => buttons.forEach((button, c) => { button.hidden = !classes.list[c].name.toLowerCase().includes(filter.value.trim().toLowerCase()); }),
  });
  const tools = classes.list.length > 2 && el("div", { class: "legend-tools" }, classes.list.length > MANY_CLASSES && filter,
    el("button", { class: "all", type: "button", onclick: () => all(true) }, "All"),
    el("button", { class: "all", type: "button", onclick: () => all(false) }, "None"));
  const node = el("div", {}, tools, el("div", { class: "legend", role: "group", "aria-label": "Classes shown" }, buttons));
  return { node, show };
}
