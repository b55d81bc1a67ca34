// A tuning: what to do, each setting against the score, and all trials.

const W = 320, H = 200, LEFT = 46, RIGHT = 12, TOP = 12, BOTTOM = 30;
const scored = data.trials.filter((trial) => trial.score !== null);
const ended = scored.filter((trial) => trial.state === "done");
const best = ended.reduce((one, other) => (one === null || other.score > one.score ? other : one), null);
const score = (x) => (data.percent ? `${percent(x)} %` : number(x));
const value = (x) => (typeof x === "number" ? number(x) : String(x));

const top = el("section", { class: "overview", id: "verdict", "aria-label": "Overview" });
main.append(top);
attempt(top, (body) => body.append(
  el("p", { class: "kicker" }, "Tuning"),
  el("h1", { class: "key" }, data.advice),
  el("p", { class: "soft" }, data.title),
  el("dl", { class: "facts" }, data.facts.map(([name, text]) => el("div", {}, el("dt", {}, name), el("dd", {}, text))))));

part("settings", "Each setting against the score", "Settings",
  `Each dot is a trial, hollow where it was given up half way; the line is the default, the large dot the best trial. The score: ${data.judge}.`,
  (body) => body.append(el("div", { class: "settings" }, data.settings.map(drawSetting))));
part("trials", "Trials", "Trials", null, drawTrials);

function drawSetting(setting) {
  const tried = scored.filter((trial) => own(trial.values, setting.name) !== undefined);
  const said = setting.matters === null ? "Too few trials to say how much it matters."
    : `Explains ${percent(setting.matters, 0)} % of how much scores differ.`;
  return el("figure", { class: "card setting" }, el("h3", {}, setting.name), el("p", { class: "soft" }, said), tried.length ? chart(setting, tried) : null);
}

function chart(setting, tried) {
  const scores = tried.map((trial) => trial.score);
  const [low, high] = wide(Math.min(...scores), Math.max(...scores));
  const y = (s) => TOP + (H - TOP - BOTTOM) * (1 - (s - low) / (high - low));
  const named = setting.choices.length > 0;
  const place = (v) => (named ? setting.choices.indexOf(String(v)) : setting.log ? Math.log(Math.max(Number(v), 1e-12)) : Number(v));
  const usual = setting.usual === null || (named && place(setting.usual) < 0) ? null : setting.usual;
  const places = tried.map((trial) => place(own(trial.values, setting.name)));
  if (usual !== null) places.push(place(usual));
  const [from, to] = named ? [-0.5, setting.choices.length - 0.5] : wide(Math.min(...places), Math.max(...places));
  const x = (v) => LEFT + (W - LEFT - RIGHT) * ((place(v) - from) / (to - from));
  const back = (p) => (setting.log ? Math.exp(p) : p);
  const marks = named ? setting.choices.map((choice) => [x(choice), choice]) : [0.08, 0.5, 0.92].map((share) => {
    const v = back(from + share * (to - from));
    return [x(v), number(v)];
  });
  const picture = svg("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `${setting.name} against the score` },
    [low + 0.1 * (high - low), (low + high) / 2, high - 0.1 * (high - low)].map((s) => [
      svg("line", { class: "grid", x1: LEFT, x2: W - RIGHT, y1: y(s), y2: y(s) }),
      svg("text", { x: LEFT - 6, y: y(s) + 4, "text-anchor": "end" }, data.percent ? percent(s, high - low < 0.01 ? 2 : 1) : number(s))]).flat(),
    marks.map(([at, text]) => svg("text", { x: at, y: H - 10, "text-anchor": "middle" }, text)),
    usual === null ? null : svg("line", { class: "usual", x1: x(usual), x2: x(usual), y1: TOP, y2: H - BOTTOM }));
  for (const trial of tried) {
    const kind = trial === best ? "best" : `tried ${trial.state === "pruned" ? "pruned" : ""}`;
    picture.append(svg("circle", { class: kind, cx: x(own(trial.values, setting.name)), cy: y(trial.score), r: trial === best ? 6 : 4 },
      svg("title", {}, `trial ${trial.number}: ${value(own(trial.values, setting.name))}, ${score(trial.score)}`)));
  }
  return picture;
}

function wide(low, high) {
  const room = high > low ? 0.08 * (high - low) : 0.1 * (Math.abs(low) || 1);
  return [low - room, high + room];
}

function drawTrials(body) {
  const names = data.settings.map((setting) => setting.name);
  const rows = [...data.trials].sort((one, other) => (other.score ?? -Infinity) - (one.score ?? -Infinity));
  body.append(el("div", { class: "trials" }, el("table", {},
    el("thead", {}, el("tr", {}, ["trial", "score", ...names, ""].map((name) => el("th", { scope: "col" }, name)))),
    el("tbody", {}, rows.map((trial) => el("tr", { class: trial === best ? "best" : null },
      el("td", { class: "num" }, trial.number), el("td", { class: "num" }, trial.score === null ? "\u2013" : score(trial.score)),
      names.map((name) => { const v = own(trial.values, name); return el("td", { class: "num" }, v === undefined || v === null ? "" : value(v)); }),
      el("td", {}, trial.state === "pruned" ? "given up half way" : trial.state === "failed" ? trial.why : trial.number === 0 ? "the defaults" : "")))))));
}
