/** What helps among many cameras: finding one by its name, those that are not live, and the way past the pictures. */

import { say } from "/dom.js";

/** Fewer cameras are seen at a glance. */
const MANY = 9;

export class Tools {
  #bar;
  #find;
  #trouble;
  #grid;
  #processes;

  constructor(bar, grid, processes) {
    [this.#bar, this.#grid, this.#processes] = [bar, grid, processes];
    this.#find = bar.querySelector("[name=find]");
    this.#trouble = bar.querySelector(".trouble");
    this.#find.addEventListener("input", () => this.#apply());
    this.#trouble.addEventListener("click", () => {
      this.#trouble.setAttribute("aria-pressed", this.#trouble.getAttribute("aria-pressed") !== "true");
      this.#apply();
    });
    for (const jump of bar.querySelectorAll("[data-jump]")) jump.addEventListener("click", () => this.#jump(jump.dataset.jump));
  }

  /** What the orchestrator knows of all cameras. */
  show(cameras) {
    const hidden = cameras.length < MANY;
    if (hidden && !this.#bar.hidden) {
      this.#find.value = "";
      this.#trouble.setAttribute("aria-pressed", false);
    }
    this.#bar.hidden = hidden;
    const troubled = cameras.filter(({ state }) => state !== "live").length;
    say(this.#trouble.querySelector("span"), String(troubled));
    this.#trouble.classList.toggle("bad", troubled > 0);
    this.#apply();
  }

  #apply() {
    const text = this.#find.value.trim().toLowerCase();
    const troubled = this.#trouble.getAttribute("aria-pressed") === "true";
    const shown = this.#grid.filter(({ name, camera }) => name.includes(text) && (!troubled || camera?.state !== "live"));
    this.#processes.filter(text);
    const none = document.querySelector(".none-found");
    none.hidden = shown > 0 || this.#bar.hidden;
    say(none, text === "" ? "All cameras are live." : `No camera${troubled ? " that is not live" : ""} has “${text}” in its name.`);
  }

  #jump(selector) {
    const section = document.querySelector(selector);
    if (section instanceof HTMLDetailsElement) section.open = true;
    section.querySelector("summary, select")?.focus({ preventScroll: true });
    // What has just been opened is filled before the next frame but one.
    requestAnimationFrame(() => requestAnimationFrame(() => section.scrollIntoView()));
  }
}
