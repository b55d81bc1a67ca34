// Views that the model saw, the closest pairs, and the strangest samples.

function drawViews(body) {
  drawRows(body, data.views, "original", (v, count) => count === 1 ? "view" : `view ${v + 1}`);
}

function drawFound(body) {
  drawRows(body, data.found, "query", (v) => `no. ${v + 1}`);
}

function drawPredicted(body) {
  drawRows(body, data.predicted, "sample", (v) => ["truth", "prediction"][v] || "");
}

function drawRows(body, all, firstName, nameOf) {
  const widest = Math.max(...all.map((row) => row.views.length));
  const rows = el("div", { class: "rows" }, all.map((row) => {
    const original = sample(row.item);
    const views = row.views.map(sample);
    // Texts stand one below the other; where only some are texts, these are as high as the pictures beside them.
    const texts = [original, ...views].filter(hasText).length;
    const layout = texts === 0 ? "" : texts === views.length + 1 ? " has-text" : " is-mixed";
    const figure = (one, name, first) =>
      el("figure", { class: [first && "first", hasText(one) && "of-text"].filter(Boolean).join(" ") || null }, openable(one), el("figcaption", {}, name));
    return el("div", { class: `card row${layout}` },
      el("div", { class: "strip" },
        figure(original, firstName, true),
        views.map((view, v) => figure(view, nameOf(v, views.length)))),
      nameLine(original));
  }));
  if (widest > 2) rows.style.setProperty("--row-width", `${Math.min(1070, 56 + (widest + 1) * 90)}px`);
  body.append(rows);
}

function drawExtremes(body) {
  if (data.closest.length > 0) {
    body.append(
      el("h3", { class: "sub" }, "Closest pairs"),
      el("p", { class: "soft" }, "Possible duplicates. Near 1.000 the encoder sees the two as the same sample."),
      el("div", { class: "pairs" }, data.closest.map(([a, b, similarity]) => {
        const two = [sample(a), sample(b)];
        return el("div", { class: two.some(hasText) ? "card pair has-text" : "card pair" },
          el("p", { class: "cosine num" }, el("span", {}, el("b", {}, cosine(similarity))), el("span", {}, labelNote(...two))),
          el("div", { class: "two" }, two.map((one) => el("figure", {}, openable(one), nameLine(one)))));
      })));
  }
  if (data.strangest.length > 0) {
    const odd = data.strangest.map(([i, similarity]) => [sample(i), similarity]);
    body.append(
      el("h3", { class: "sub" }, "Strangest samples"),
      el("p", { class: "soft" }, "Lowest mean similarity to their nearest neighbours: rare cases, broken inputs, or what the model has not learned."),
      el("div", { class: odd.some(([one]) => hasText(one)) ? "oddities has-text" : "oddities" }, odd.map(([one, similarity]) =>
        el("div", { class: "odd" }, el("figure", {}, openable(one), el("p", { class: "cosine num" }, cosine(similarity)), nameLine(one))))));
  }
}

function labelNote(a, b) {
  if (a.label === null || b.label === null) return "";
  return a.label === b.label ? "same label" : "labels differ";
}
