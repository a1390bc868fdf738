/** All cameras, laid out so that the pictures are as large as they can be. */

import { Tile } from "/tile.js";

/** Height of what stands below a picture, and the gap. */
const CAPTION = 52;
/** Narrower pictures show nothing. */
const NARROWEST = 260;
/** What the strip below takes. */
const BELOW = 250;
/** A phone's window; more cameras than this stand two in a row there. */
const [PHONE, FEW] = [560, 8];

export class Grid {
  tiles = new Map();
  #element;
  #strip;
  #single = null;
  #observer;
  #wanted = () => true;

  constructor(element, strip) {
    this.#element = element;
    this.#strip = strip;
    // A little ahead, so that a picture is there when one scrolls to it.
    this.#observer = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) this.tiles.get(target.dataset.camera)?.inWindow(isIntersecting);
    }, { rootMargin: "100px" });
    addEventListener("resize", () => this.layOut());
    element.addEventListener("keydown", (event) => this.#key(event));
  }

  /** What the orchestrator knows of all cameras. Whether there are others than before. */
  show(cameras) {
    const names = new Set(cameras.map(({ name }) => name));
    let changed = false;
    for (const [name, tile] of this.tiles) {
      if (names.has(name)) continue;
      this.#observer.unobserve(tile.element);
      tile.seen(false);
      tile.element.remove();
      this.tiles.delete(name);
      changed = true;
    }
    for (const camera of cameras) {
      if (!this.tiles.has(camera.name)) {
        const tile = new Tile(camera.name, this.#strip);
        this.tiles.set(camera.name, tile);
        this.#element.append(tile.element);
        this.#observer.observe(tile.element);
        changed = true;
      }
      this.tiles.get(camera.name).show(camera);
    }
    if (changed) this.layOut();
    return changed;
  }

  /** Shows those tiles alone of which `wanted` is true; how many there are. */
  filter(wanted) {
    this.#wanted = wanted;
    const found = this.found;
    const wrong = (tile) => tile.element.hidden === found.includes(tile);
    if (this.#single === null && [...this.tiles.values()].some(wrong)) this.layOut();
    return found.length;
  }

  /** The tiles that are looked for, in their order. */
  get found() {
    return [...this.tiles.values()].filter((tile) => this.#wanted(tile));
  }

  /** One camera alone, or all of them (null). */
  single(name) {
    this.#single = name;
    this.layOut();
  }

  /** As many columns as make the pictures largest while all of them, and the strip below, fit the window. */
  layOut() {
    const grid = this.#element;
    const shown = this.#single === null ? this.found : [this.tiles.get(this.#single)];
    for (const tile of this.tiles.values()) tile.element.hidden = !shown.includes(tile);
    const room = { width: grid.clientWidth, height: Math.max(innerHeight - grid.offsetTop - BELOW, 240) };
    const count = shown.length;
    const picture = (columns) => {
      const rows = Math.ceil(count / columns);
      return Math.min(room.width / columns, ((room.height / rows - CAPTION) * 16) / 9);
    };
    let best = 1;
    for (let columns = 2; columns <= count && room.width / columns >= NARROWEST; columns++) {
      if (picture(columns) > picture(best) + 1) best = columns;
    }
    // A great many are scrolled through; then they need not be tiny, nor one below the other.
    if (picture(best) < NARROWEST) best = Math.max(1, Math.min(count, Math.floor(room.width / 300)));
    if (room.width < PHONE) best = count > FEW ? 2 : 1;
    grid.style.setProperty("--columns", best);
    grid.classList.toggle("hero", count === 3 && room.width >= 720);
    grid.classList.toggle("alone", count === 1);
  }

  /** Arrows go from one camera to its neighbours. */
  #key(event) {
    if (!event.target.matches(".open") || event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
    const tiles = this.found;
    const columns = getComputedStyle(this.#element).gridTemplateColumns.split(" ").length;
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, Home: -Infinity, End: Infinity };
    const step = steps[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const from = tiles.findIndex((tile) => tile.element.contains(event.target));
    const to = Math.abs(step) === Infinity ? Math.min(Math.max(from + step, 0), tiles.length - 1) : from + step;
    tiles[to]?.focus();
  }
}
