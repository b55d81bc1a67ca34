// The evaluation: for each task a table with systems in columns and figures in rows, each with its interval.

function drawEvaluation(body) {
  const found = data.evaluation;
  for (const section of found.sections) {
    const [main, more] = [section.rows.filter((row) => row.role !== "detail"), section.rows.filter((row) => row.role === "detail")];
    const tables = [];
    if (main.length > 0) tables.push(figureTable(found, section.task, main));
    if (more.length > 0) {
      tables.push(el("details", { class: "fold" }, el("summary", {}, icon("open"), `More figures: ${section.task}`),
        el("div", { class: "inside" }, figureTable(found, section.task, more))));
    }
    body.append(el("div", { class: "card eval" }, tables));
  }
  if (found.listings.length > 0) body.append(el("div", { class: "listings" }, found.listings.map(listingTable)));
  const lines = [found.counts.map(([name, n]) => `${name}: ${n}`).join(" \u00b7 "), ...found.notes].filter(Boolean);
  body.append(el("div", { class: "protocol" }, lines.map((line) => el("p", {}, prose(line))),
    found.protocol && el("details", {}, el("summary", {}, icon("open"), "How it was measured"), el("p", {}, found.protocol))));
}

// The system in question: of a run the trained one, of several runs the best.
const isTrained = (found, s) => s === found.judged;
// Names of runs are the user's own, and stay as they are.
const systemName = (found, s) => (found.names === "own" ? found.systems[s] : capital(found.systems[s] || ""));

function figureTable(every, task, rows) {
  // Systems that have none of these figures have no column.
  const columns = every.systems.map((_, s) => s).filter((s) => s === every.judged || rows.some((row) => row.cells[s] !== null));
  const found = { ...every, systems: columns.map((s) => every.systems[s]), judged: columns.indexOf(every.judged) };
  const marked = rows.some((row) => row.marks.length > 0);
  const share = rows.every((row) => row.share);
  const metrics = new Set(rows.map((row) => row.metric));
  const title = metrics.size === 1 && rows.length > 1 ? `${capital(task)}: ${rows[0].metric}` : capital(task);
  return el("table", {},
    el("caption", { class: "visually-hidden" }, `${title}, with 95 % intervals`),
    el("thead", {}, el("tr", {},
      el("th", { scope: "col" }, share ? `${title}, %` : title),
      found.systems.map((_, s) => el("th", { scope: "col", class: isTrained(found, s) && "trained" }, systemName(found, s))),
      marked && el("th", { scope: "col", class: "last" }, `${systemName(found, found.judged)} is`))),
    el("tbody", {}, rows.map((row) => {
      const cells = columns.map((s) => row.cells[s]);
      const means = cells.map((cell) => (cell && row.better !== 0 && row.role !== "shown" ? row.better * cell.mean : -Infinity));
      const top = Math.max(...means);
      const best = Number.isFinite(top) && means.length > 1 && means.filter((mean) => mean === top).length === 1 ? means.indexOf(top) : -1;
      const name = metrics.size === 1 ? row.name : [row.metric, row.name === row.metric ? "" : row.name].filter(Boolean).join(": ");
      return el("tr", {},
        el("th", { scope: "row" }, explained(row, row.share && !share ? `${name}, %` : name)),
        cells.map((cell, s) => valueCell(found, row, cell, s, s === best)),
        marked && el("td", {}, el("div", { class: "marks" }, row.marks.map(([system, mark, lead]) => aheadMark(found, row, system, mark, lead)))));
    })));
}

// The name of a figure leads to what it means, further down the page.
function explained(row, name) {
  const word = row.words[row.words.length - 1];
  if (word === undefined) return capital(name);
  const text = own(Object.fromEntries(data.evaluation.meanings), word);
  return hinted(el("a", { class: "term", href: `#${meaningId(word)}` }, capital(name)), text);
}
const meaningId = (word) => `meaning-${data.evaluation.meanings.findIndex(([name]) => name === word)}`;

function valueCell(found, row, cell, s, best) {
  const attributes = { "data-name": systemName(found, s), class: `${best ? "is-best " : ""}${isTrained(found, s) ? "trained" : ""}` };
  if (!cell) return el("td", attributes, el("div", { class: "cell soft" }, "\u2013"));
  const show = row.share ? (x) => percent(x) : number;
  const range = cell.low === null ? null : `95 % interval ${show(cell.low)} to ${show(cell.high)}`;
  return el("td", attributes,
    hinted(el("div", { class: "cell num" }, el("span", { class: "mean" }, show(cell.mean)),
      range && el("span", { class: "spread" }, `\u00b1 ${show((cell.high - cell.low) / 2)}`), best && el("span", { class: "best" }, "best")), range),
    row.share && row.role === "judged" && bar(row, cell));
}

function bar(row, cell) {
  const track = el("div", { class: "track", "aria-hidden": "true" });
  const piece = (name, from, to) => {
    const mark = el("i", { class: name });
    mark.style.left = `${percent(Math.max(0, Math.min(1, from)))}%`;
    mark.style.width = `${percent(Math.max(0, Math.min(1, to) - Math.max(0, from)))}%`;
    track.append(mark);
  };
  piece("fill", 0, cell.mean);
  if (cell.low !== null) piece("range", cell.low, cell.high);
  if (row.chance !== null) piece("chance", row.chance, row.chance);
  return track;
}

const MARKS = { ahead: ["ahead", "ahead of"], behind: ["behind", "behind"], unclear: ["same", "not clearly apart from"] };
function aheadMark(found, row, name, mark, lead) {
  const known = own(MARKS, mark) || MARKS.unclear;
  const node = el("span", { class: "mark", "data-mark": known === MARKS.unclear ? "unclear" : mark }, icon(known[0]),
    el("span", {}, `${known[1]} ${name}`, found.names === "own" && el("span", { class: "soft num" }, ` ${minus(lead)}`)));
  return hinted(node, `The difference is ${minus(lead)}${row.share ? " points" : ""}, with its 95 % interval.`);
}

// A task's own small table; shares have a bar.
function listingTable({ title, columns, lines }) {
  const cell = (value, c) => {
    if (typeof value !== "number") return el("td", { class: "key" }, value);
    const isShare = lines.some((line) => !Number.isInteger(line[c]));
    const node = el("td", { class: "num" }, isShare ? `${percent(value)} %` : count(value));
    if (isShare) node.style.setProperty("--share", `${percent(value)}%`);
    return node;
  };
  return el("details", { class: "card fold listing", open: true },
    el("summary", {}, icon("open"), title, el("span", { class: "soft" }, ` (${count(lines.length)})`)),
    el("div", { class: "inside", tabindex: 0, role: "region", "aria-label": title }, el("table", {},
      el("thead", {}, el("tr", {}, columns.map((name) => el("th", { scope: "col" }, capital(name))))),
      el("tbody", {}, lines.map((line) => el("tr", {}, line.map(cell)))))));
}

function drawMeanings(body) {
  const words = data.evaluation === null ? [] : data.evaluation.meanings;
  body.append(el("dl", { class: "card meanings" }, words.map(([name, text]) =>
    el("div", { id: meaningId(name) }, el("dt", {}, capital(name)), el("dd", {}, text))),
    FIXED_MEANINGS.map(([name, text]) => el("div", {}, el("dt", {}, name), el("dd", {}, text)))));
}
const FIXED_MEANINGS = [
  ["\u00b1", "Half the length of the 95 % interval. With few labels it counts which labels were drawn and which samples were tested; with all labels, the test samples."],
  ["ahead, behind", "The interval of the difference, on the same draws and test samples, excludes zero."],
  ["Verdict", "All differences from a baseline are tested together, corrected for their number. Good: every question is answered yes. Mixed: answers contradict each other. Bad: collapsed, no better than chance, or only worse than a baseline."],
];
