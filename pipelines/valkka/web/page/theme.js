/* Light or dark, before anything is painted: as the system says, or as was chosen here. A classic script in the head. */
{
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const CHOICES = ["auto", "light", "dark"];
  // What was chosen while storage is forbidden.
  let unstored = null;
  const chosen = () => {
    try {
      const stored = localStorage.getItem("theme");
      return CHOICES.includes(stored) ? stored : "auto";
    } catch {
      return unstored ?? "auto";
    }
  };
  const choose = (choice) => {
    try {
      if (choice === "auto") localStorage.removeItem("theme");
      else localStorage.setItem("theme", choice);
    } catch {
      unstored = choice;
    }
    apply();
  };
  const apply = () => {
    const choice = chosen();
    const theme = choice === "auto" ? (dark.matches ? "dark" : "light") : choice;
    Object.assign(document.documentElement.dataset, { theme, choice });
    dispatchEvent(new CustomEvent("theme", { detail: theme }));
  };
  apply();
  dark.addEventListener("change", apply);
  // Another tab has chosen.
  addEventListener("storage", ({ key }) => (key === "theme" || key === null) && apply());
  addEventListener("DOMContentLoaded", () => {
    const button = document.querySelector("#theme");
    const next = () => CHOICES[(CHOICES.indexOf(chosen()) + 1) % CHOICES.length];
    const words = { auto: "as the system says", light: "light", dark: "dark" };
    const tell = () => {
      const text = `Colours: ${words[chosen()]}. Change to ${words[next()]}`;
      button.setAttribute("aria-label", text);
      button.title = text;
    };
    addEventListener("theme", tell);
    tell();
    button.addEventListener("click", () => choose(next()));
  });
}
