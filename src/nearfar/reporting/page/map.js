// The map: points coloured by label, a look at the sample under the pointer, and the true neighbours of the pinned one.

function drawMap(body) {
  const map = data.map;
  const n = map.items.length;
  const items = map.items.map(sample);
  const classes = labelClasses(items.map(({ label }) => label));
  const classOf = items.map((item) => (item.label === null ? classes.none : classes.index.get(item.label)));
  const shown = classes.list.map(() => true);
  let [hovered, pinned] = [null, null];

  const canvas = el("canvas", { tabindex: 0, role: "application", "aria-label": `Map of ${count(n)} samples. Arrow keys move, plus and minus zoom, zero resets. Use the search field to pick a sample by name.` });
  const tip = el("div", { class: "tip", hidden: true });
  const panel = el("div", { class: "panel" });
  const stage = el("div", { class: "stage" }, canvas, tip);
  const scatter = makeScatter(canvas, { draw, hover, click });
  stage.append(el("div", { class: "tools" },
    el("button", { class: "button", type: "button", "aria-label": "Zoom in", onclick: () => scatter.zoomBy(1.6) }, "+"),
    el("button", { class: "button", type: "button", "aria-label": "Zoom out", onclick: () => scatter.zoomBy(1 / 1.6) }, "\u2212"),
    el("button", { class: "button", type: "button", onclick: scatter.reset }, "Reset")));

  const key = legend(classes, shown, scatter.redraw);
  if (classes.labelled) body.append(key.node);
  body.append(el("div", { class: "card map" }, stage, panel));
  const agreement = classes.labelled ? sharedLabels(map, items) : null;
  const under = [
    agreement === null ? null : `Of the ${map.neighbours[0].length} nearest neighbours of each sample shown, ${percent(agreement, 0)} % carry its label.`,
    data.images_left_out > 0 ? `${plural(data.images_left_out, "thumbnail was", "thumbnails were")} left out to keep this file small.` : null,
    data.media_left_out > 0 ? `${plural(data.media_left_out, "sound was", "sounds were")} left out to keep this file small.` : null,
  ].filter(Boolean);
  if (under.length > 0) body.append(el("p", { class: "under" }, under.join(" ")));

  const message = el("p", { class: "hint", role: "status" });
  const details = el("div", {});
  const field = el("input", { type: "search", placeholder: "Find by name, label or text", "aria-label": "Find a sample by name, label or text" });
  const find = el("form", { class: "find", onsubmit: (event) => { event.preventDefault(); search(field.value); } },
    field, el("button", { class: "button", type: "submit" }, "Find"));
  panel.append(find, message, details);
  showDetails();

  function draw() {
    const paint = canvas.getContext("2d");
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const { view } = scatter;
    const sharp = window.devicePixelRatio || 1;
    paint.setTransform(sharp, 0, 0, sharp, 0, 0);
    paint.clearRect(0, 0, view.width, view.height);
    const small = view.width < 480 ? 0.85 : 1;
    const radius = small * (n <= 150 ? 6 : n <= 600 ? 4.6 : n <= 1200 ? 3.8 : 3.3) * Math.min(view.zoom ** 0.4, 2.2);
    const focus = pinned === null ? null : new Set([pinned, ...map.neighbours[pinned]]);
    classes.list.forEach((one, c) => {
      if (!shown[c]) return;
      paint.fillStyle = paint.strokeStyle = one.colour;
      paint.lineWidth = 1.3;
      paint.globalAlpha = focus === null ? 0.85 : 0.2;
      paint.beginPath();
      for (let i = 0; i < n; i++) {
        if (classOf[i] !== c) continue;
        const [x, y] = scatter.locate(map.xy[i]);
        if (x < -9 || y < -9 || x > view.width + 9 || y > view.height + 9) continue;
        paint.moveTo(x + radius, y);
        paint.arc(x, y, radius, 0, 2 * Math.PI);
      }
      // Samples without a label are hollow: told apart by shape, not by one more grey.
      if (one.hollow) paint.stroke();
      else paint.fill();
    });
    paint.globalAlpha = 1;
    const ring = (i, size, width, edge) => {
      const [x, y] = scatter.locate(map.xy[i]);
      paint.beginPath();
      paint.arc(x, y, size, 0, 2 * Math.PI);
      paint.fillStyle = classes.list[classOf[i]].colour;
      paint.fill();
      paint.lineWidth = width;
      paint.strokeStyle = edge;
      paint.stroke();
    };
    if (pinned !== null) {
      const from = scatter.locate(map.xy[pinned]);
      paint.strokeStyle = colour("--text");
      paint.lineWidth = 1.25;
      paint.globalAlpha = 0.6;
      paint.beginPath();
      for (const j of map.neighbours[pinned]) {
        paint.moveTo(...from);
        paint.lineTo(...scatter.locate(map.xy[j]));
      }
      paint.stroke();
      paint.globalAlpha = 1;
      for (const j of map.neighbours[pinned]) ring(j, radius + 1.5, 1.5, colour("--card"));
      ring(pinned, radius + 4, 2.5, colour("--text"));
    }
    if (hovered !== null) ring(hovered, radius + 3, 2, colour("--text"));
  }

  function nearest(x, y, reach) {
    let [best, distance] = [null, reach];
    for (let i = 0; i < n; i++) {
      if (!shown[classOf[i]]) continue;
      const [px, py] = scatter.locate(map.xy[i]);
      const apart = Math.hypot(px - x, py - y);
      if (apart < distance) [best, distance] = [i, apart];
    }
    return best;
  }
  function hover(x, y, kind) {
    const found = x === null || kind === "touch" ? null : nearest(x, y, 14);
    if (found !== hovered) lookAt(found);
  }
  function click(x, y, kind) {
    const found = nearest(x, y, kind === "touch" ? 26 : 14);
    pin(found);
    lookAt(found);
  }
  function lookAt(i) {
    hovered = i;
    canvas.style.cursor = i === null ? "" : "pointer";
    scatter.redraw();
    tip.hidden = i === null;
    if (i === null) return;
    const item = items[i];
    tip.replaceChildren(thumb(item), el("div", { class: "key" }, item.key), tag(item) || "");
    scatter.putBeside(tip, scatter.locate(map.xy[i]));
  }
  function pin(i) {
    pinned = i;
    message.textContent = "";
    showDetails();
    scatter.redraw();
  }
  function search(text) {
    const wanted = text.trim().toLowerCase();
    if (wanted === "") return;
    const matches = (item) => [item.key, item.label, item.text].some((part) => part !== null && part.toLowerCase().includes(wanted));
    // Searching again goes on to the next match.
    const order = items.map((_, i) => (i + (pinned === null ? 0 : pinned + 1)) % n);
    const found = order.find((i) => matches(items[i]));
    if (found === undefined) {
      message.textContent = "No sample on this map matches.";
      return;
    }
    key.show(classOf[found], true);
    pin(found);
  }
  function showDetails() {
    if (pinned === null) {
      details.replaceChildren(el("p", { class: "hint" }, "Point at a dot to see its sample. Click or tap it to pin it and see its nearest neighbours."));
      return;
    }
    const item = items[pinned];
    const neighbours = map.neighbours[pinned].map((j, at) => [j, map.similarities[pinned][at]]);
    const textual = neighbours.some(([j]) => hasText(items[j]));
    details.replaceChildren(
      el("div", { class: hasText(item) ? "pinned has-text" : "pinned" }, openable(item),
        el("div", {}, el("p", { class: "key" }, item.key), tag(item),
          el("p", {}, el("button", { class: "button unpin", type: "button", onclick: () => { pin(null); lookAt(null); } }, "Unpin")))),
      neighbours.length > 0 && el("h3", { class: "nearest-heading" }, "Nearest neighbours"),
      el("ul", { class: textual ? "near has-text" : "near" }, neighbours.map(([j, similarity]) =>
        el("li", {}, el("button", {
          type: "button", title: items[j].label === null ? items[j].key : `${items[j].key}\n${items[j].label}`,
          "aria-label": `${items[j].key}, similarity ${cosine(similarity)}`,
          onclick: () => pin(j), onpointerenter: () => { hovered = j; scatter.redraw(); }, onpointerleave: () => { hovered = null; scatter.redraw(); },
        }, thumb(items[j]), el("span", { class: "cosine num" }, cosine(similarity)))))));
  }
}

function sharedLabels(map, items) {
  let [same, seen] = [0, 0];
  map.neighbours.forEach((near, i) => near.forEach((j) => {
    if (items[i].label === null || items[j].label === null) return;
    seen += 1;
    same += items[i].label === items[j].label ? 1 : 0;
  }));
  return seen === 0 ? null : same / seen;
}
