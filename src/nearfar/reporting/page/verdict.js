// The verdict, the key facts, the alarms, and what was left out.

const LEVELS = { good: "Good", unclear: "Unclear", bad: "Bad" };

// The first sentence says it all; the figures behind it follow in smaller type.
function drawVerdict(section) {
  const [headline, ...details] = data.verdict.split(/(?<=[.!?]) (?=[A-Z])/);
  section.append(
    el("div", { class: "card hero", "data-level": data.level },
      el("p", { class: "run" }, data.title),
      el("p", { class: "level" }, icon(data.level), LEVELS[data.level]),
      el("h1", {}, headline),
      details.length > 0 && el("p", { class: "details num" }, details.join(" ")),
      data.facts.length > 0 && el("dl", { class: "facts" },
        data.facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", { class: "num" }, value))))));
  if (data.alarms.length > 0) {
    section.append(el("ul", { class: "alarms", "aria-label": "Alarms" }, data.alarms.map((alarm) =>
      el("li", { class: "card alarm" }, icon("alarm"),
        el("p", {},
          alarm.name && el("strong", {}, `${words(alarm.name)}. `), alarm.sentence || "",
          typeof alarm.step === "number" && el("span", { class: "at num" }, `step ${count(alarm.step)}`))))));
  } else if (data.curves.length > 0) {
    section.append(el("p", { class: "calm" }, icon("good"), "No alarm was raised during the run."));
  }
  if (data.skipped_total > 0) section.append(skippedList());
}

function skippedList() {
  const more = data.skipped_total - data.skipped.length;
  const heading = el("span", {},
    el("span", { class: "count num" }, count(data.skipped_total)), data.skipped_total === 1 ? " input was left out" : " inputs were left out");
  return el("details", { class: "card skipped" },
    el("summary", {}, icon("open"), heading),
    data.skipped.length > 0 && el("ul", {}, data.skipped.map(([key, reason]) =>
      el("li", {}, el("span", { class: "key" }, key), el("span", { class: "reason" }, reason)))),
    more > 0 && el("p", { class: "more" }, `and ${count(more)} more; all of them are in skipped.csv`));
}

function words(name) {
  const text = String(name).replace(/_/g, " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}
