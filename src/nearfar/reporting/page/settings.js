// The configuration and the environment, folded, to copy.

function drawSettings(body) {
  const inside = el("div", { class: "settings" });
  if (data.config !== "") {
    const text = el("pre", { tabindex: 0 }, el("code", {}, data.config));
    inside.append(fold("config.toml", el("div", { class: "inside" }, copyButton(text, data.config), text)));
  }
  if (data.environment.length > 0) {
    inside.append(fold("Environment", el("div", { class: "inside" },
      el("dl", {}, data.environment.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", { class: "num" }, value)))))));
  }
  body.append(inside);
}

const fold = (name, inside) => el("details", { class: "card fold" }, el("summary", {}, icon("open"), name), inside);

function copyButton(source, text) {
  const label = el("span", {}, "Copy");
  const said = (word) => {
    label.textContent = word;
    setTimeout(() => { label.textContent = "Copy"; }, 1600);
  };
  const select = () => {
    const range = document.createRange();
    range.selectNodeContents(source);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    said(document.execCommand("copy") ? "Copied" : "Selected");
  };
  return el("button", {
    class: "button copy", type: "button",
    onclick: () => (navigator.clipboard ? navigator.clipboard.writeText(text).then(() => said("Copied"), select) : select()),
  }, icon("copy"), label);
}
