// Small multiples: one chart a figure, one cursor for all of them.

const CURVES = {
  loss: ["Loss", "Healthy: falls quickly, then slowly. A rise or a jump late in the run is a warning.", { smooth: true }],
  lr: ["Learning rate", "As planned: a short climb, then a smooth fall towards zero.", { zero: true }],
  knn: ["kNN accuracy", "Healthy: rises, then levels off. It uses labels that the training never sees.", { share: true }],
  view_retrieval: ["View retrieval", "How often a view finds the other view of its own sample. Healthy: climbs, and stays up.", { share: true }],
  alignment: ["Alignment", "Distance between views of one sample; lower is nearer. Healthy: settles low, while uniformity stays low too.", { zero: true }],
  uniformity: ["Uniformity", "How evenly samples spread; lower is better. Healthy: well below zero. Near zero, all samples look alike.", {}],
  agreement: ["Agreement", "How much nearer two views of one sample are than views of two. Healthy: climbs from above 0 towards 1. Near 0, views have nothing in common.", { zero: true }],
  effective_rank: ["Effective rank", "Directions that the embedding really uses. Healthy: stays high. A fall towards 1 is collapse.", { zero: true }],
  dead_dimensions: ["Dead dimensions", "Dimensions that never vary. Healthy: zero or close to it.", { share: true }],
  mean_cosine: ["Mean cosine", "Between the features of different samples. Healthy: below 1. At 1, all samples look alike.", {}],
  pull: ["Pull", "How much the loss depends on where the latents lie. Healthy: 0.5 to 10. Near 0, it teaches nothing: the temperature is too high.", { zero: true }],
  collapse_gain: ["Gain by collapse", "How much lower the loss would be if all samples were one point. Healthy: below zero.", {}],
  update_ratio: ["Step size", "How far a step moves the encoder's weights, beside their length. Healthy: 0.1 % to 10 %. Above, the learning rate is too high.", { share: true }],
  weight_norm: ["Length of the weights", "Of the encoder, norms and biases apart. Healthy: changes slowly. Doubled within a few steps, the learning rate is too high.", { zero: true }],
  repeats: ["Repeats", "Pairs of samples in a batch that show the same. Healthy: close to zero.", { share: true }],
  data_wait: ["Waiting for data", "Share of the time spent waiting for data. Healthy: a few percent; else use a cache or more workers.", { share: true }],
  processor_wait: ["Waiting for a core", "Share of the time in which other programs had the processor. Healthy: below 10 %.", { share: true }],
  samples_per_second: ["Speed", "Samples a second. Healthy: flat. A slow decline points at the machine, not the model.", { zero: true }],
};

// Lines of several runs are told apart by colour (Okabe and Ito 2008, darker or lighter for the ground), dashes and marks.
const DASHES = ["", "7 4", "2 3", "9 3 2 3"];
const MARKS_AT_END = [
  "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0", "M-3.6 -3.6H3.6V3.6H-3.6z", "M0 -4.8L4.6 3.4H-4.6z", "M0 -5L4.4 0L0 5L-4.4 0z", "M0 4.8L4.6 -3.4H-4.6z", "M-4 -1.4H-1.4V-4H1.4V-1.4H4V1.4H1.4V4H-1.4V1.4H-4z",
];
const lineColour = (run) => (run === undefined ? "var(--accent)" : `var(--run-${run % 6})`);
const endMark = (run) => MARKS_AT_END[run % MARKS_AT_END.length];
function lineSample(run) {
  const picture = svg("svg", { class: "line-sample", viewBox: "0 0 26 12", width: 26, height: 12, "aria-hidden": "true" },
    svg("path", { class: "line", d: "M1 6H25", "stroke-dasharray": DASHES[run % DASHES.length] }), svg("path", { class: "end", d: endMark(run), transform: "translate(13 6)" }));
  picture.style.setProperty("--line-colour", lineColour(run));
  return picture;
}

// `axis` is "steps" or "seconds": what the curves are drawn along.
function drawCurves(body, axis = "steps") {
  const order = Object.keys(CURVES);
  const rank = (curve) => (order.includes(curve.name) ? order.indexOf(curve.name) : order.length);
  const curves = data.curves.map((curve) => ({ name: curve.name, lines: linesOf(curve, axis) })).filter((curve) => curve.lines.length > 0);
  // All charts share one axis, so that they can be read across.
  const every = curves.flatMap((curve) => curve.lines.flatMap((line) => line.along));
  const [first, last] = [Math.min(...every), Math.max(...every)];
  const charts = [...curves].sort((a, b) => rank(a) - rank(b)).map((curve) => chart(curve, first, last, axis));
  const [moving, still] = [charts.filter((one) => !one.flat), charts.filter((one) => one.flat)];
  body.append(el("div", { class: "curves" }, moving.map((one) => one.node)));
  if (still.length > 0) {
    body.append(el("details", { class: "fold still" }, el("summary", {}, icon("open"), `${plural(still.length, "figure", "figures")} that hardly changed: ${still.map((one) => one.title).join(", ")}`),
      el("div", { class: "curves" }, still.map((one) => one.node))));
  }
  const show = (place) => charts.forEach((one) => one.read(place));
  for (const one of charts) {
    const move = (event) => show(one.placeAt(event.clientX));
    one.plot.addEventListener("pointermove", move);
    one.plot.addEventListener("pointerdown", move);
    one.plot.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && show(null));
    one.plot.addEventListener("blur", () => show(null));
    one.plot.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (by) {
        event.preventDefault();
        show(one.next(by));
      }
      if (event.key === "Escape") show(null);
    });
  }
}

// A curve is a line, or has one for each run; those that lack a place on the axis are left out.
function linesOf(curve, axis) {
  const lines = curve.lines || [curve];
  return lines.map((line) => ({ ...line, along: line[axis] || [] })).filter((line) => line.along.length > 0 && line.along.every((place) => place !== null));
}

const PLACES = {
  steps: { name: "step", show: (place) => `step ${count(place)}`, tick: (place) => compact(place) },
  seconds: { name: "time", show: (place) => spent(place), tick: (place) => (place === 0 ? "0" : spent(place)) },
};
const spent = (s) => (s >= 7200 ? `${Number((s / 3600).toFixed(1))} h` : s >= 120 ? `${Number((s / 60).toFixed(1))} min` : `${Number(s.toFixed(s < 10 ? 1 : 0))} s`);

function chart(curve, first, last, axis) {
  const [title, healthy, options] = own(CURVES, curve.name) || [words(curve.name), "", {}];
  const { lines } = curve;
  const several = lines[0].run !== undefined;
  const share = options.share;
  const show = share ? (v) => `${percent(v)} %` : number;
  const where = PLACES[axis];
  const reading = el("p", { class: "reading num", "aria-live": "off" });
  const said = lines.map(({ run, values }) => `${several ? `${data.runs[run].name} ` : ""}from ${show(values[0])} to ${show(values[values.length - 1])}`);
  const plot = el("div", { class: "plot", tabindex: 0, role: "img", "aria-label": `${title}: ${said.join("; ")}` });
  const lost = lines.reduce((sum, line) => sum + line.not_finite, 0);
  const note = lost > 0 ? ` ${plural(lost, "value was", "values were")} not finite and left out.` : "";
  const heading = healthy && several ? hinted(el("h3", { tabindex: 0 }, title), healthy) : el("h3", {}, title);
  const readings = several ? lines.map(() => el("b", {})) : [];
  const node = el("article", { class: "card curve" }, el("header", {}, heading, reading), plot,
    several && el("ul", { class: "readings num" }, lines.map(({ run }, l) => el("li", {}, lineSample(run), el("span", { class: "name" }, data.runs[run].name), readings[l]))),
    ((healthy && !several) || note) && el("p", { class: "healthy" }, (several ? "" : healthy) + note));

  const every = lines.flatMap((line) => line.values);
  const [low, high] = span(every, options, share);
  const frame = { left: 46, right: 10, top: 10, bottom: 24, width: 300, height: 156 };
  const x = (place) => frame.left + ((place - first) / (last - first || 1)) * (frame.width - frame.left - frame.right);
  const y = (value) => frame.height - frame.bottom - ((value - low) / (high - low)) * (frame.height - frame.top - frame.bottom);
  let cursor = null;
  let at = null;

  function drawLine(picture, { along, values, run }) {
    const group = svg("g", {});
    group.style.setProperty("--line-colour", lineColour(run));
    const path = (some) => some.map((v, i) => `${i ? "L" : "M"}${x(along[i]).toFixed(1)} ${y(v).toFixed(1)}`).join("");
    const smooth = options.smooth && values.length >= 60 ? runningMean(values, Math.ceil(values.length / 40)) : null;
    const dashes = several ? DASHES[run % DASHES.length] : null;
    if (!(smooth && several)) group.append(svg("path", { class: smooth ? "line raw" : "line", d: path(values), "stroke-dasharray": smooth ? null : dashes }));
    if (smooth) group.append(svg("path", { class: "line", d: path(smooth), "stroke-dasharray": dashes }));
    const end = values.length - 1;
    if (several) group.append(svg("path", { class: "end", d: endMark(run), transform: `translate(${x(along[end]).toFixed(1)} ${y(smooth ? smooth[end] : values[end]).toFixed(1)})` }));
    else if (end === 0) group.append(svg("circle", { class: "dot", cx: x(along[0]), cy: y(values[0]), r: 4 }));
    picture.append(group);
  }

  function draw() {
    frame.width = Math.max(plot.clientWidth, 160);
    const picture = svg("svg", { viewBox: `0 0 ${frame.width} ${frame.height}`, "aria-hidden": "true" });
    for (const tick of ticks(low, high, 5)) {
      picture.append(
        svg("line", { class: "grid", x1: frame.left, x2: frame.width - frame.right, y1: y(tick), y2: y(tick) }),
        svg("text", { x: frame.left - 8, y: y(tick) + 4, "text-anchor": "end" }, share ? `${Number((100 * tick).toFixed(2))} %` : number(tick)));
    }
    picture.append(svg("text", { x: frame.left - 8, y: frame.height - 6, "text-anchor": "end" }, where.name));
    const along = ticks(first, last, 4).filter((tick) => axis !== "steps" || Number.isInteger(tick));
    for (const tick of along.length ? along : [first]) {
      const near = x(tick) > frame.width - 34 ? ["end", frame.width - frame.right] : ["middle", x(tick)];
      picture.append(svg("text", { x: near[1], y: frame.height - 6, "text-anchor": near[0] }, where.tick(tick)));
    }
    for (const alarm of data.alarms) {
      if (typeof alarm.step === "number" && alarm.step >= first && alarm.step <= last) {
        picture.append(svg("line", { class: "alarm-at", x1: x(alarm.step), x2: x(alarm.step), y1: frame.top, y2: frame.height - frame.bottom },
          svg("title", {}, alarm.sentence || "")));
      }
    }
    for (const line of lines) drawLine(picture, line);
    cursor = svg("g", {}, svg("line", { class: "cursor", y1: frame.top, y2: frame.height - frame.bottom }), lines.map(({ run }) => {
      const dot = svg("circle", { class: "dot", r: 4 });
      dot.style.setProperty("--line-colour", lineColour(run));
      return dot;
    }));
    picture.append(cursor);
    plot.replaceChildren(picture);
    mark();
  }

  function mark() {
    const places = lines.map((line) => (at === null ? line.along.length - 1 : nearestTo(line.along, at)));
    const longest = lines.reduce((best, line, l) => (line.along.length > lines[best].along.length ? l : best), 0);
    const place = lines[longest].along[places[longest]];
    if (several) {
      lines.forEach((line, l) => readings[l].replaceChildren(show(line.values[places[l]])));
      reading.replaceChildren(at === null ? "at the end" : `at ${where.show(place)}`);
    } else {
      reading.replaceChildren(el("b", {}, show(lines[0].values[places[0]])), at === null ? " at the end" : ` at ${where.show(place)}`);
    }
    if (cursor === null) return;
    cursor.setAttribute("visibility", at === null ? "hidden" : "visible");
    const [upright, ...dots] = cursor.children;
    upright.setAttribute("x1", x(place));
    upright.setAttribute("x2", x(place));
    dots.forEach((dot, l) => {
      dot.setAttribute("cx", x(lines[l].along[places[l]]));
      dot.setAttribute("cy", y(lines[l].values[places[l]]));
    });
  }

  mark();
  onResize(plot, draw);
  return {
    node,
    plot,
    title,
    flat: curve.name !== "loss" && isFlat(every, share),
    read(place) {
      at = place;
      mark();
    },
    placeAt(clientX) {
      const inside = clientX - plot.getBoundingClientRect().left - frame.left;
      return first + (inside / (frame.width - frame.left - frame.right)) * (last - first);
    },
    next(by) {
      const { along } = lines.reduce((best, line) => (line.along.length > best.along.length ? line : best));
      const now = at === null ? (by < 0 ? along.length : -1) : nearestTo(along, at);
      return along[Math.max(0, Math.min(along.length - 1, now + by))];
    },
  };
}

function nearestTo(along, place) {
  let best = 0;
  for (let i = 1; i < along.length; i++) if (Math.abs(along[i] - place) < Math.abs(along[best] - place)) best = i;
  return best;
}

// The middle nine tenths of the values differ by less than a fiftieth of their size, or of a share's whole.
function isFlat(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (q) => sorted[Math.round(q * (sorted.length - 1))];
  return at(0.95) - at(0.05) <= 0.02 * (share ? 1 : Math.max(Math.abs(at(0.95)), Math.abs(at(0.05)))) && sorted[sorted.length - 1] - sorted[0] <= 0.1 * (share ? 1 : Math.abs(at(0.5)) || 1);
}

function span(values, options, share) {
  let low = Math.min(...values);
  let high = Math.max(...values);
  if (options.zero || share) low = Math.min(low, 0);
  if (share) high = Math.min(1, Math.max(high * 1.1, 0.1));
  if (high - low < 1e-12) [low, high] = options.zero ? [low, high + 1] : [low - 0.5, high + 0.5];
  const air = (high - low) * 0.06;
  return [options.zero || share ? low : low - air, share ? high : high + air];
}

function ticks(low, high, wanted) {
  const rough = (high - low) / wanted || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => (high - low) / s <= wanted) || 10 * power;
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) found.push(Number((i * step).toPrecision(12)));
  return found;
}
const compact = (n) => (n >= 1e6 ? `${Number((n / 1e6).toPrecision(3))}M` : n >= 1e4 ? `${Number((n / 1e3).toPrecision(3))}k` : count(n));

function runningMean(values, half) {
  return values.map((_, i) => {
    const near = values.slice(Math.max(0, i - half), i + half + 1);
    return near.reduce((a, b) => a + b, 0) / near.length;
  });
}
