// Several runs: who is better, by how much, at what cost, set how, and how training went.

const WORDS = { yes: "good", no: "bad", mixed: "mixed", unclear: "unclear" };
const runName = (r) => el("span", { class: "run-name" }, lineSample(r), el("span", { class: "key" }, data.runs[r].name));

const top = el("section", { class: "verdict", id: "verdict", "aria-label": "Verdict" });
main.append(top);
attempt(top, (body) => {
  const surely = data.answer === "yes";
  body.append(el("div", { class: "card hero", "data-level": surely ? "good" : "unclear" },
    el("p", { class: "run" }, `${data.title}, compared`),
    el("h1", {}, data.headline),
    el("ul", { class: "answers" }, data.statements.map(([head, answer, detail]) =>
      el("li", {}, el("span", { class: "answer", "data-level": own(WORDS, answer) || "unclear" }, icon(own(WORDS, answer) || "unclear")),
        el("p", {}, el("strong", {}, head), ". ", el("span", { class: "num soft" }, capital(withMinus(detail))))))),
    data.cautions.map((text) => el("p", { class: "small-caution" }, icon("alarm"), prose(text))),
    el("ol", { class: "runs" }, data.runs.map((run, r) =>
      el("li", {}, runName(r), r === data.best && surely && el("span", { class: "best-run" }, "best"),
        el("span", { class: "soft" }, `Alone: ${LEVELS[run.level].toLowerCase()}. ${run.headline}`))))));
});

if (data.evaluation.sections.length > 0) {
  part("evaluation", "Which is better?", "Evaluation", "The runs side by side, each figure with its 95 % interval. Differences are counted test sample by test sample where the runs share their test samples; so they can be sure although intervals overlap.", drawEvaluation);
}
if (data.costs.length > 0) {
  part("costs", "What did they cost?", "Costs", data.costs_note || null, (body) => body.append(runTable(data.costs, "Costs")));
}
part("differences", "What was set differently?", "Settings", data.differing.length > 0 ? null : "No setting in config.toml differs.", (body) => {
  if (data.differing.length > 0) body.append(runTable(data.differing, "Settings that differ"));
  if (data.machines.length > 0) body.append(fold(`Machine and versions that differ (${data.machines.length})`, el("div", { class: "inside" }, runTable(data.machines, "Machine and versions"))));
});
if (data.curves.length > 0) {
  part("training", "How did training go?", "Training", "All runs in one chart, told apart by colour, dashes and marks. Point at a chart, or walk along it by the arrow keys, to read all of them at one place.", (body) => {
    if (data.differing.some(([name]) => name === "method")) body.append(el("p", { class: "soft note" }, "Losses of different methods are different things: only their course can be read, not which is lower."));
    const charts = el("div", {});
    const timed = data.curves.some((curve) => curve.lines.some((line) => line.seconds.every((place) => place !== null)));
    const buttons = [["steps", "By step"], ["seconds", "By time"]].map(([axis, name]) =>
      el("button", { class: "button", type: "button", "aria-pressed": String(axis === "steps"), onclick: () => along(axis) }, name));
    const along = (axis) => {
      buttons.forEach((button, i) => button.setAttribute("aria-pressed", String((i === 0) === (axis === "steps"))));
      charts.replaceChildren();
      drawCurves(charts, axis);
    };
    fill(body, {}, [timed && el("div", { class: "axes", role: "group", "aria-label": "Curves are drawn along" }, buttons), charts]);
    along("steps");
  });
}
if (data.evaluation.meanings.length > 0) {
  part("meanings", "What do the figures mean?", "Meanings", "In full: docs/evaluation.md and docs/report.md of nearfar.", drawMeanings);
}

// A line for each thing, a column for each run; a bar where less is better.
function runTable(lines, caption) {
  return el("div", { class: "card eval table-of-runs" }, el("table", {},
    el("caption", { class: "visually-hidden" }, caption),
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }), data.runs.map((_, r) => el("th", { scope: "col" }, runName(r))))),
    el("tbody", {}, lines.map(([name, values, shares]) => el("tr", {}, el("th", { scope: "row" }, name), values.map((value, r) =>
      el("td", { class: "num", "data-name": data.runs[r].name }, el("div", { class: "cell" }, value === null ? "\u2013" : value), shares && shares[r] !== null && shareBar(shares[r]))))))));
}
function shareBar(share) {
  const fill = el("i", { class: "fill" });
  fill.style.width = `${percent(share)}%`;
  return el("div", { class: "track", "aria-hidden": "true" }, fill);
}
