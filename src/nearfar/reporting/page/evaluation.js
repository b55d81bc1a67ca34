// The evaluation: systems in columns, probes in rows, each figure with its interval.

const MAIN_FIGURES = ["precision@1", "map@r", "view_retrieval", "effective_rank", "uniformity", "dead_dimensions"];
const FIGURES = {
  "precision@1": "Nearest sample has the same label", "map@r": "Mean average precision at R", mrr: "Mean reciprocal rank", r_precision: "R-precision",
  "ndcg@1": "nDCG@1", "ndcg@5": "nDCG@5", "ndcg@10": "nDCG@10",
};
const isShare = (figure) => figure.part === "retrieval" || ["view_retrieval", "dead_dimensions"].includes(figure.name);
const PROBES = { knn: "Nearest neighbours", linear: "Linear probe" };

function drawEvaluation(body) {
  const found = data.evaluation;
  if (found.rows.length > 0) body.append(probeTable(found));
  const tables = found.figures.filter((figure) => figure.cells);
  const main = tables.filter((figure) => tables.length <= 6 || MAIN_FIGURES.includes(figure.name));
  const rest = tables.filter((figure) => !main.includes(figure));
  if (main.length > 0) body.append(el("div", { class: "card eval" }, figureTable(found, main)));
  if (rest.length > 0) {
    body.append(el("details", { class: "card eval fold" }, el("summary", {}, icon("open"), "More figures"),
      el("div", { class: "inside" }, figureTable(found, rest))));
  }
  const single = found.figures.filter((figure) => figure.value);
  if (single.length > 0) {
    body.append(el("div", { class: "figures" }, single.map((figure) =>
      el("div", { class: "card figure" },
        el("p", { class: "name" }, figureName(figure)),
        el("p", { class: "value num" }, estimate(figure.value, isShare(figure)))))));
  }
  const lines = [found.protocol, countsLine(found.counts), ...found.notes].filter(Boolean);
  body.append(el("div", { class: "protocol" }, lines.map((line) => el("p", {}, line))));
}

// The last system is the trained one: the baselines come before it.
const isTrained = (found, s) => s === found.systems.length - 1;

function heads(found, first, last) {
  return el("thead", {}, el("tr", {},
    el("th", { scope: "col" }, first),
    found.systems.map((name, s) => el("th", { scope: "col", class: isTrained(found, s) && "trained" }, capital(name))),
    last && el("th", { scope: "col", class: "last" }, last)));
}

function probeTable(found) {
  const marked = found.rows.some((row) => row.ahead.length > 0);
  const trained = found.systems[found.systems.length - 1] || "";
  return el("div", { class: "card eval" }, el("table", {},
    el("caption", { class: "visually-hidden" }, "Accuracy in percent, with 95 % intervals"),
    heads(found, "Accuracy, %", marked && `${capital(trained)} is`),
    el("tbody", {}, found.rows.map((row) => {
      const means = row.cells.map((cell) => (cell ? cell.mean : -Infinity));
      const top = Math.max(...means);
      const best = means.filter((mean) => mean === top).length === 1 && means.length > 1 ? means.indexOf(top) : -1;
      return el("tr", {},
        el("th", { scope: "row" }, own(PROBES, row.probe) || capital(row.probe), el("span", { class: "soft" }, conditions(row))),
        row.cells.map((cell, s) => accuracyCell(found, cell, s, s === best)),
        marked && el("td", {}, el("div", { class: "marks" }, row.ahead.map(([name, mark]) => aheadMark(name, mark)))));
    }))));
}

function conditions(row) {
  const parts = [];
  if (row.k !== null && row.k !== undefined) parts.push(`k = ${row.k}`);
  const labels = row.labels;
  if (typeof labels === "number") parts.push(plural(labels, "label a class", "labels a class"));
  else parts.push(typeof labels === "string" && labels !== "all" ? labels : "all labels");
  return parts.join(", ");
}

function accuracyCell(found, cell, s, best) {
  const attributes = { "data-name": capital(found.systems[s]), class: `${best ? "is-best " : ""}${isTrained(found, s) ? "trained" : ""}` };
  if (!cell) return el("td", attributes, el("div", { class: "cell soft" }, "\u2013"));
  const bar = el("div", { class: "track", "aria-hidden": "true" });
  const piece = (name, from, to) => {
    const mark = el("i", { class: name });
    mark.style.left = `${percent(Math.max(0, Math.min(1, from)))}%`;
    mark.style.width = `${percent(Math.max(0, Math.min(1, to) - Math.max(0, from)))}%`;
    bar.append(mark);
  };
  piece("fill", 0, cell.mean);
  if (cell.low !== null) piece("range", cell.low, cell.high);
  return el("td", attributes,
    el("div", { class: "cell num", title: cell.low === null ? null : `95 % interval ${percent(cell.low)} to ${percent(cell.high)}` },
      estimate(cell, true), best && el("span", { class: "best" }, "best")),
    bar);
}

function estimate(cell, share) {
  if (!cell) return ["\u2013"];
  const show = share ? (x) => percent(x) : number;
  const parts = [el("span", { class: "mean" }, show(cell.mean))];
  if (cell.low !== null) parts.push(" ", el("span", { class: "spread" }, `\u00b1 ${show((cell.high - cell.low) / 2)}`));
  return parts;
}

const MARKS = { ahead: ["ahead", "ahead of"], behind: ["behind", "behind"], unclear: ["same", "not clearly apart from"] };
function aheadMark(name, mark) {
  const known = own(MARKS, mark) || MARKS.unclear;
  return el("span", { class: "mark", "data-mark": known === MARKS.unclear ? "unclear" : mark }, icon(known[0]), el("span", {}, `${known[1]} ${name}`));
}

function figureTable(found, figures) {
  const cell = (figure, one, s) =>
    el("td", { "data-name": capital(found.systems[s]), class: isTrained(found, s) && "trained" },
      el("div", { class: "cell num" }, estimate(one, isShare(figure))));
  return el("table", {}, heads(found, "Figure"),
    el("tbody", {}, figures.map((figure) =>
      el("tr", {}, el("th", { scope: "row" }, figureName(figure)), figure.cells.map((one, s) => cell(figure, one, s))))));
}

function figureName(figure) {
  const name = figure.name === "" ? figure.part : figure.name;
  return `${own(FIGURES, name) || words(name)}${isShare(figure) ? ", %" : ""}`;
}
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const countsLine = (counts) => counts.map(([name, n]) => `${words(name)}: ${/^\d+$/.test(n) ? count(Number(n)) : n}`).join(" \u00b7 ");
