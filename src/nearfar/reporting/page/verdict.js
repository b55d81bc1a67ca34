// The verdict, the key facts, the alarms, and what was left out.

const LEVELS = { good: "Good", mixed: "Mixed", unclear: "Unclear", bad: "Bad" };
const LEVEL_MEANINGS = {
  good: "Every question that was asked is answered yes.",
  mixed: "Answers contradict each other, or figures within one do.",
  unclear: "Nothing is sure, or the training was too short to tell.",
  bad: "Collapsed, no better than chance, or worse than a baseline and ahead of none.",
};
const FACTS = {
  Method: "The training objective: what was drawn near, and what pushed apart.",
  Encoder: "The network that makes the vectors, its size, and how long each vector is.",
  Samples: "How many samples it was trained on.",
  Batch: "How many samples were compared with each other at each step.",
  "Wall time": "From the start of the command to the last step; the evaluation is not in it.",
  Device: "Where it ran, on how many threads of the processor, and in which arithmetic.",
  nearfar: "The version that trained it.",
};
function fact(name) {
  const meaning = own(FACTS, name);
  return meaning === undefined ? el("dt", {}, name) : hinted(el("dt", { tabindex: 0 }, name), meaning);
}
const ANSWERS = { yes: "good", no: "bad", mixed: "mixed", unclear: "unclear" };

// One headline, then a line for each question; the figures stand in the evaluation.
function drawVerdict(section) {
  const verdict = data.verdict || { level: "unclear", headline: "This run has not been evaluated.", caution: "", statements: [] };
  section.append(
    el("div", { class: "card hero", "data-level": verdict.level },
      el("p", { class: "run" }, data.title),
      hinted(el("p", { class: "level", tabindex: 0 }, icon(verdict.level), LEVELS[verdict.level]), LEVEL_MEANINGS[verdict.level]),
      el("h1", {}, verdict.headline),
      verdict.caution && el("p", { class: "caution" }, icon("alarm"), prose(verdict.caution)),
      verdict.statements.length > 0 && el("ul", { class: "answers" }, verdict.statements.map(([question, answer, , detail]) =>
        el("li", {}, el("span", { class: "answer", "data-level": own(ANSWERS, answer) || "unclear" }, icon(own(ANSWERS, answer) || "unclear")),
          el("p", {}, el("strong", {}, question, " ", capital(answer)), ". ", el("span", { class: "num soft" }, capital(withMinus(detail))))))),
      data.length !== null && drawLength(),
      data.facts.length > 0 && el("dl", { class: "facts" },
        data.facts.map(([name, value]) => el("div", {}, fact(name), el("dd", { class: "num" }, value))))));
  if (data.alarms.length > 0) {
    section.append(el("ul", { class: "alarms", "aria-label": "Alarms" }, data.alarms.map((alarm) =>
      el("li", { class: "card alarm" }, icon("alarm"),
        el("p", {},
          alarm.name && el("strong", {}, `${words(alarm.name)}. `), prose(alarm.sentence || ""),
          typeof alarm.step === "number" && el("span", { class: "at num" }, `step ${count(alarm.step)}`))))));
  } else if (data.curves.length > 0) {
    section.append(el("p", { class: "calm" }, icon("good"), "No alarm was raised during the run."));
  }
  if (data.skipped_total > 0) section.append(skippedList());
}

function drawLength() {
  const [steps, epochs] = data.length;
  const amount = (n, name) => el("p", {}, el("b", { class: "num" }, n), ` ${name}`);
  return el("div", { class: "length" },
    amount(count(steps), steps === 1 ? "step" : "steps"),
    epochs !== null && amount(count(epochs), epochs === 1 ? "epoch" : "epochs"));
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

// kNN and map@r keep their small letters.
const capital = (text) => (/^[a-z][A-Z]|^\S*@/.test(text) ? text : text.charAt(0).toUpperCase() + text.slice(1));
const words = (name) => capital(String(name).replace(/_/g, " "));
