/* Light or dark, before anything is painted: as the system says, or as was chosen here. A classic script in the head. */
{
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const chosen = () => {
    try {
      return localStorage.getItem("theme");
    } catch {
      return null; // Storage may be forbidden.
    }
  };
  const apply = () => {
    const theme = chosen() ?? (dark.matches ? "dark" : "light");
    document.documentElement.dataset.theme = theme;
    dispatchEvent(new CustomEvent("theme", { detail: theme }));
  };
  apply();
  dark.addEventListener("change", apply);
  addEventListener("DOMContentLoaded", () => {
    const button = document.querySelector("#theme");
    const tell = () => {
      const other = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
      button.setAttribute("aria-label", `Change to ${other} colours`);
      button.title = `Change to ${other} colours`;
    };
    addEventListener("theme", tell);
    tell();
    button.addEventListener("click", () => {
      const other = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
      try {
        // What the system says anyway need not be remembered.
        if ((other === "dark") === dark.matches) localStorage.removeItem("theme");
        else localStorage.setItem("theme", other);
      } catch {
        document.documentElement.dataset.theme = other;
        dispatchEvent(new CustomEvent("theme", { detail: other }));
        return;
      }
      apply();
    });
  });
}
