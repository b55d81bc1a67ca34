// The contents: which part is being read, and a button that folds them on a phone.

const links = new Map([...contents.children].map((link) => [link.getAttribute("href").slice(1), link]));
const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const link = links.get(entry.target.id);
    if (link) link.setAttribute("aria-current", String(entry.isIntersecting));
  }
}, { rootMargin: "-30% 0px -69% 0px" });
for (const section of main.querySelectorAll("section")) seen.observe(section);

// On a phone the contents fold behind a button.
const menu = document.getElementById("menu");
const openMenu = (open) => {
  menu.setAttribute("aria-expanded", String(open));
  contents.classList.toggle("is-open", open);
};
menu.addEventListener("click", () => openMenu(menu.getAttribute("aria-expanded") !== "true"));
contents.addEventListener("click", () => openMenu(false));
