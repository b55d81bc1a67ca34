// A few near pairs, with heat over what makes them near.

const METHODS = {
  occlusion: "coloured by how much the cosine falls without each part",
  shares: "coloured by what each part adds to the cosine",
  tokens: "coloured by the largest cosine of each part with one of the other",
};

function drawExplained(body) {
  body.append(
    el("p", { class: "heat-key soft" },
      el("span", { class: "swatch is-near" }), "makes them near ", el("span", { class: "swatch is-far" }), "parts them"),
    el("div", { class: "explained" }, data.explained.map((entry) =>
      el("div", { class: "card explanation" },
        el("p", { class: "cosine num" }, el("b", {}, cosine(entry.cosine)), el("span", { class: "soft" }, own(METHODS, entry.method) || "")),
        el("div", { class: "two" }, entry.sides.map(drawSide))))));
}

function drawSide(side) {
  const one = sample(side.item);
  if (side.heat !== null) {
    return el("figure", {}, el("div", { class: "beside" }, openable(one), openable(sample(side.heat))), nameLine(one));
  }
  const parts = side.parts.flatMap(([name, heat]) => {
    const part = el("span", { class: heat < 0 ? "part-heat is-far" : "part-heat is-near", title: minus(heat.toFixed(2)) }, name);
    part.style.setProperty("--heat", `${Math.round(80 * Math.min(1, Math.abs(heat)))}%`);
    return side.running ? [part, " "] : [el("div", {}, part)];
  });
  return el("figure", {},
    el("div", { class: side.running ? "parts is-running" : "parts" }, parts, side.more > 0 && el("span", { class: "soft" }, `and ${count(side.more)} more`)),
    nameLine(one));
}
