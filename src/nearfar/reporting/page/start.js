// The page, top to bottom; a part without data is left out.

const first = el("section", { class: "verdict", id: "verdict", "aria-label": "Verdict" });
main.append(first);
attempt(first, drawVerdict);

if (data.evaluation !== null) {
  part("evaluation", "How good is it?", "Evaluation", "The encoder next to its baselines, under one protocol. Each name leads to what it means.", drawEvaluation);
}
if (data.curves.length > 0) {
  part("training", "How did training go?", "Training", `Each figure over the steps of the run. Point at a chart to read all of them at one step.${data.alarms.length > 0 ? " Dotted lines mark alarms." : ""}`, drawCurves);
}
if (data.map !== null) {
  part("map", "What does it see as alike?", "Map", `${plural(data.map.items.length, "sample", "samples")}, laid out so that similar ones lie together. Between far groups, distances say little; the neighbours listed come from the embedding itself.`, drawMap);
}
if (data.views.length > 0) {
  part("views", "What was it shown?", "Views", "The model learned that the views in a row belong together. If you could not tell that yourself, the views are too harsh.", drawViews);
}
if (data.predicted.length > 0) {
  part("predicted", "What does it say?", "Predictions", "Samples that it was not trained on: as they are, with what they are annotated with, and with what the head says of them.", drawPredicted);
}
if (data.found.length > 0) {
  part("found", "What does it find?", "Found", "Of samples that it was not trained on, one side is the query and what comes nearest on the other side stands beside it, the nearest first.", drawFound);
}
if (data.explained.length > 0) {
  part("explained", "Why are they near?", "Explained", "Samples with their nearest neighbours, and what of each makes them near. More with nearfar explain.", drawExplained);
}
if (data.closest.length > 0 || data.strangest.length > 0) {
  part("extremes", "What deserves a look?", "Samples", null, drawExtremes);
}
if (data.evaluation !== null) {
  part("meanings", "What do the figures mean?", "Meanings", "In full: docs/evaluation.md and docs/health.md of nearfar.", drawMeanings);
}
if (data.config !== "" || data.environment.length > 0) {
  part("settings", "How was it made?", "Settings", "All that it takes to run this again.", drawSettings);
}
