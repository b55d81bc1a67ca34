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

function drawCurves(body) {
  const order = Object.keys(CURVES);
  const rank = (curve) => (order.includes(curve.name) ? order.indexOf(curve.name) : order.length);
  // All charts share one axis of steps, so that they can be read across.
  const firstStep = Math.min(...data.curves.map((curve) => curve.steps[0]));
  const lastStep = Math.max(...data.curves.map((curve) => curve.steps[curve.steps.length - 1]));
  const charts = [...data.curves].sort((a, b) => rank(a) - rank(b)).map((curve) => chart(curve, firstStep, lastStep));
  const [moving, still] = [charts.filter((one) => !one.flat), charts.filter((one) => one.flat)];
  body.append(el("div", { class: "curves" }, moving.map((one) => one.node)));
  if (still.length > 0) {
    body.append(el("details", { class: "fold still" }, el("summary", {}, icon("open"), `${plural(still.length, "figure", "figures")} that hardly changed: ${still.map((one) => one.title).join(", ")}`),
      el("div", { class: "curves" }, still.map((one) => one.node))));
  }
  const show = (step) => charts.forEach((one) => one.read(step));
  for (const one of charts) {
    const move = (event) => show(one.stepAt(event.clientX));
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
    });
  }
}

function chart(curve, firstStep, lastStep) {
  const [title, healthy, options] = own(CURVES, curve.name) || [words(curve.name), "", {}];
  const { steps, values } = curve;
  const share = options.share;
  const show = share ? (v) => `${percent(v)} %` : number;
  const reading = el("p", { class: "reading num", "aria-live": "off" });
  const plot = el("div", { class: "plot", tabindex: 0, role: "img", "aria-label": `${title}: from ${show(values[0])} to ${show(values[values.length - 1])}` });
  const lost = curve.not_finite > 0 ? ` ${plural(curve.not_finite, "value was", "values were")} not finite and left out.` : "";
  const node = el("article", { class: "card curve" },
    el("header", {}, el("h3", {}, title), reading), plot, (healthy || lost) && el("p", { class: "healthy" }, healthy + lost));

  const [low, high] = span(values, options, share);
  const frame = { left: 46, right: 10, top: 10, bottom: 24, width: 300, height: 156 };
  const x = (step) => frame.left + ((step - firstStep) / (lastStep - firstStep || 1)) * (frame.width - frame.left - frame.right);
  const y = (value) => frame.height - frame.bottom - ((value - low) / (high - low)) * (frame.height - frame.top - frame.bottom);
  const path = (line) => line.map((v, i) => `${i ? "L" : "M"}${x(steps[i]).toFixed(1)} ${y(v).toFixed(1)}`).join("");
  let cursor = null;
  let at = null;

  function draw() {
    frame.width = Math.max(plot.clientWidth, 160);
    const picture = svg("svg", { viewBox: `0 0 ${frame.width} ${frame.height}`, "aria-hidden": "true" });
    for (const tick of ticks(low, high, 5)) {
      picture.append(
        svg("line", { class: "grid", x1: frame.left, x2: frame.width - frame.right, y1: y(tick), y2: y(tick) }),
        svg("text", { x: frame.left - 8, y: y(tick) + 4, "text-anchor": "end" }, share ? `${Number((100 * tick).toFixed(2))} %` : number(tick)));
    }
    picture.append(svg("text", { x: frame.left - 8, y: frame.height - 6, "text-anchor": "end" }, "step"));
    const along = ticks(firstStep, lastStep, 4).filter(Number.isInteger);
    for (const tick of along.length ? along : [firstStep]) {
      const near = x(tick) > frame.width - 34 ? ["end", frame.width - frame.right] : ["middle", x(tick)];
      picture.append(svg("text", { x: near[1], y: frame.height - 6, "text-anchor": near[0] }, compact(tick)));
    }
    for (const alarm of data.alarms) {
      if (typeof alarm.step === "number" && alarm.step >= firstStep && alarm.step <= lastStep) {
        picture.append(svg("line", { class: "alarm-at", x1: x(alarm.step), x2: x(alarm.step), y1: frame.top, y2: frame.height - frame.bottom },
          svg("title", {}, alarm.sentence || "")));
      }
    }
    const smooth = options.smooth && values.length >= 60 ? runningMean(values, Math.ceil(values.length / 40)) : null;
    picture.append(svg("path", { class: smooth ? "line raw" : "line", d: path(values) }));
    if (smooth) picture.append(svg("path", { class: "line", d: path(smooth) }));
    if (values.length === 1) picture.append(svg("circle", { class: "dot", cx: x(steps[0]), cy: y(values[0]), r: 4 }));
    cursor = svg("g", {}, svg("line", { class: "cursor", y1: frame.top, y2: frame.height - frame.bottom }), svg("circle", { class: "dot", r: 4 }));
    picture.append(cursor);
    plot.replaceChildren(picture);
    mark();
  }

  function mark() {
    const i = at === null ? values.length - 1 : at;
    reading.replaceChildren(el("b", {}, show(values[i])), at === null ? " at the end" : ` at step ${count(steps[i])}`);
    if (cursor === null) return;
    cursor.setAttribute("visibility", at === null ? "hidden" : "visible");
    const [line, dot] = cursor.children;
    line.setAttribute("x1", x(steps[i]));
    line.setAttribute("x2", x(steps[i]));
    dot.setAttribute("cx", x(steps[i]));
    dot.setAttribute("cy", y(values[i]));
  }

  const nearest = (step) => {
    let best = 0;
    for (let i = 1; i < steps.length; i++) if (Math.abs(steps[i] - step) < Math.abs(steps[best] - step)) best = i;
    return best;
  };
  mark();
  onResize(plot, draw);
  return {
    node,
    plot,
    title,
    flat: curve.name !== "loss" && isFlat(values, share),
    read(step) {
      at = step === null ? null : nearest(step);
      mark();
    },
    stepAt(clientX) {
      const inside = clientX - plot.getBoundingClientRect().left - frame.left;
      return firstStep + (inside / (frame.width - frame.left - frame.right)) * (lastStep - firstStep);
    },
    next: (by) => steps[Math.max(0, Math.min(values.length - 1, (at === null ? (by < 0 ? values.length : -1) : at) + by))],
  };
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
