/** All cameras, laid out so that the pictures are as large as they can be. */

import { Tile } from "/tile.js";

/** Height of what stands below a picture, and the gap. */
const CAPTION = 52;
/** Narrower pictures show nothing. */
const NARROWEST = 260;
/** What the strip below takes. */
const BELOW = 250;

export class Grid {
  tiles = new Map();
  #element;
  #strip;
  #single = null;
  #observer;

  constructor(element, strip) {
    this.#element = element;
    this.#strip = strip;
    // A little ahead, so that a picture is there when one scrolls to it.
    this.#observer = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) this.tiles.get(target.dataset.camera)?.inWindow(isIntersecting);
    }, { rootMargin: "100px" });
    addEventListener("resize", () => this.layOut());
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

  /** One camera alone, or all of them (null). */
  single(name) {
    this.#single = name;
    this.layOut();
  }

  /** As many columns as make the pictures largest while all of them, and the strip below, fit the window. */
  layOut() {
    const grid = this.#element;
    for (const [name, { element }] of this.tiles) element.hidden = this.#single !== null && name !== this.#single;
    const room = { width: grid.clientWidth, height: Math.max(innerHeight - grid.offsetTop - BELOW, 240) };
    const count = this.#single === null ? this.tiles.size : 1;
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
    grid.style.setProperty("--columns", room.width < 560 ? 1 : best);
    grid.classList.toggle("hero", count === 3 && room.width >= 720);
    grid.classList.toggle("alone", count === 1);
  }
}
