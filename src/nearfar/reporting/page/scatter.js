// The scatter plot that maps are drawn on: zoom by wheel or pinch, pan by drag, all of it by keyboard too; and a lasso.

const MAX_ZOOM = 40;

// `hooks`: draw(), hover(x, y | null, pointerType), click(x, y, pointerType), and where there is a lasso
// lasso(places, done), which Shift and a drag call, or any drag while `lassoing`. Places are CSS pixels inside the canvas.
function makeScatter(canvas, hooks) {
  const view = { zoom: 1, x: 0, y: 0, width: 0, height: 0 };
  const pointers = new Map();
  let travelled = 0;
  let pinched = false;
  let waiting = false;
  let lassoing = false; // by every drag
  let line = null; // the lasso that is being drawn

  function redraw() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      hooks.draw();
    });
  }
  function settle() {
    view.x = Math.min(0, Math.max(view.width * (1 - view.zoom), view.x));
    view.y = Math.min(0, Math.max(view.height * (1 - view.zoom), view.y));
    // At rest a finger scrolls the page past the map; zoomed in, it moves the map.
    canvas.style.touchAction = view.zoom > 1.001 || lassoing ? "none" : "pan-y";
    redraw();
  }
  function zoomAt(x, y, factor) {
    const zoom = Math.min(MAX_ZOOM, Math.max(1, view.zoom * factor));
    view.x = x - ((x - view.x) * zoom) / view.zoom;
    view.y = y - ((y - view.y) * zoom) / view.zoom;
    view.zoom = zoom;
    settle();
  }
  function pan(dx, dy) {
    view.x += dx;
    view.y += dy;
    settle();
  }
  function reset() {
    Object.assign(view, { zoom: 1, x: 0, y: 0 });
    settle();
  }
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };

  canvas.addEventListener("wheel", (event) => {
    // Zooming out of the whole view scrolls the page on.
    if (event.deltaY > 0 && view.zoom <= 1) return;
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 16 : 1;
    zoomAt(...place(event), Math.exp(-Math.max(-120, Math.min(120, event.deltaY * lines)) * 0.0035));
  }, { passive: false });

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    pointers.set(event.pointerId, place(event));
    if (pointers.size === 1) [travelled, pinched] = [0, false];
    else [pinched, line] = [true, null];
    if (pointers.size === 1 && hooks.lasso && (lassoing || event.shiftKey)) line = [place(event)];
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    const [x, y] = place(event);
    const before = pointers.get(event.pointerId);
    if (!before) {
      hooks.hover(x, y, event.pointerType);
      return;
    }
    const others = [...pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
    if (line !== null) {
      travelled += Math.hypot(x - before[0], y - before[1]);
      line.push([x, y]);
      hooks.hover(null);
      hooks.lasso(line, false);
    } else if (others.length > 0) {
      const [ox, oy] = others[0];
      const apart = (px, py) => Math.hypot(px - ox, py - oy) || 1;
      zoomAt((x + ox) / 2, (y + oy) / 2, apart(x, y) / apart(...before));
      pan((x - before[0]) / 2, (y - before[1]) / 2);
    } else {
      travelled += Math.hypot(x - before[0], y - before[1]);
      if (travelled > 4) {
        canvas.classList.add("dragging");
        pan(x - before[0], y - before[1]);
        hooks.hover(null);
      }
    }
    pointers.set(event.pointerId, [x, y]);
  });
  const lift = (event) => {
    const known = pointers.delete(event.pointerId);
    canvas.classList.remove("dragging");
    const drawn = line;
    line = null;
    if (drawn !== null && known && travelled > 4) hooks.lasso(event.type === "pointerup" ? drawn : [], true);
    else if (known && event.type === "pointerup" && travelled <= 4 && !pinched) hooks.click(...place(event), event.pointerType);
  };
  canvas.addEventListener("pointerup", lift);
  canvas.addEventListener("pointercancel", lift);
  canvas.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && hooks.hover(null));
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const middle = [view.width / 2, view.height / 2];
    const keys = {
      "+": () => zoomAt(...middle, 1.4),
      "=": () => zoomAt(...middle, 1.4),
      "-": () => zoomAt(...middle, 1 / 1.4),
      0: reset,
      ArrowLeft: () => pan(60, 0),
      ArrowRight: () => pan(-60, 0),
      ArrowUp: () => pan(0, 60),
      ArrowDown: () => pan(0, -60),
    };
    if (!keys[event.key] || (event.key.startsWith("Arrow") && view.zoom <= 1)) return;
    event.preventDefault();
    keys[event.key]();
  });

  onResize(canvas.parentNode, () => {
    const { clientWidth, clientHeight } = canvas.parentNode;
    const sharp = window.devicePixelRatio || 1;
    Object.assign(view, { width: clientWidth, height: clientHeight });
    canvas.width = Math.round(clientWidth * sharp);
    canvas.height = Math.round(clientHeight * sharp);
    settle();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

  const pad = 26;
  return {
    view,
    redraw,
    reset,
    // Whether every drag draws a lasso, not only one with Shift.
    lassoBy(every) {
      lassoing = every;
      settle();
    },
    zoomBy: (factor) => zoomAt(view.width / 2, view.height / 2, factor),
    // A point of the unit square, on the canvas.
    locate([u, v]) {
      const size = Math.min(view.width, view.height) - 2 * pad;
      return [
        view.x + view.zoom * ((view.width - size) / 2 + u * size),
        view.y + view.zoom * ((view.height - size) / 2 + v * size),
      ];
    },
    // Move an element to the right of a point, or to its left where there is no room, and inside the canvas.
    putBeside(tip, [x, y]) {
      const [width, height] = [tip.offsetWidth, tip.offsetHeight];
      const left = x + 16 + width < view.width ? x + 16 : Math.max(4, x - 16 - width);
      const top = Math.max(4, Math.min(view.height - height - 4, y - height / 2));
      tip.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
    },
  };
}
