/**
 * The zone editor: polygons over the picture, by mouse, finger or keyboard.
 *
 * A click into the picture adds a corner to the chosen zone; corners are buttons that are dragged, moved by arrow keys and
 * removed by Delete. Nothing is written before "Save".
 */

import { path, send } from "/api.js";
import { make, say } from "/dom.js";
import { pictureIn } from "/overlay.js";

const STEP = 0.01;

export class ZoneEditor {
  #panel;
  #tile;
  #layer;
  #list;
  #problem;
  #zones = [];
  #chosen = 0;
  #done;

  /** `panel` holds list and buttons; `done(saved)` is called at the end. */
  constructor(panel, tile, done) {
    this.#panel = panel;
    this.#tile = tile;
    this.#done = done;
    this.#list = panel.querySelector("ul");
    this.#problem = panel.querySelector(".problem");
    this.#zones = structuredClone(tile.zones);
    if (this.#zones.length === 0) this.#add();
    this.#layer = make("div", { class: "zones", role: "group", "aria-label": "Corners of the chosen zone" });
    this.#layer.addEventListener("click", (event) => event.target === this.#layer && this.#click(event));
    tile.part(".screen").append(this.#layer);
    panel.querySelector(".add").onclick = () => this.#add();
    panel.querySelector(".cancel").onclick = () => this.close(false);
    panel.querySelector("form").onsubmit = (event) => this.#save(event);
    panel.hidden = false;
    say(this.#problem, "");
    this.#show();
  }

  close(saved = false) {
    this.#layer.remove();
    this.#panel.hidden = true;
    this.#done(saved);
  }

  #add() {
    const taken = new Set(this.#zones.map(({ name }) => name));
    let number = this.#zones.length + 1;
    while (taken.has(`zone ${number}`)) number++;
    this.#zones.push({ name: `zone ${number}`, points: [] });
    this.#chosen = this.#zones.length - 1;
    if (this.#layer) this.#show();
  }

  /** The picture's rectangle in the layer. */
  get #picture() {
    const { width, height } = this.#tile.size;
    return pictureIn(this.#layer.clientWidth, this.#layer.clientHeight, width, height);
  }

  #point(event) {
    const at = this.#layer.getBoundingClientRect();
    const { x, y, w, h } = this.#picture;
    return [clamp((event.clientX - at.left - x) / w), clamp((event.clientY - at.top - y) / h)];
  }

  #click(event) {
    const zone = this.#zones[this.#chosen];
    if (zone === undefined) return;
    const point = this.#point(event);
    zone.points.splice(place(zone.points, point), 0, point);
    this.#show();
  }

  #show() {
    // Drawn with the picture, as zones are; what is edited is what is seen.
    this.#tile.zones = this.#zones;
    this.#tile.redraw();
    this.#list.replaceChildren(...this.#zones.map((zone, index) => this.#row(zone, index)));
    const corners = this.#zones[this.#chosen]?.points ?? [];
    this.#layer.replaceChildren(...corners.map((_, index) => this.#handle(index)));
  }

  #row(zone, index) {
    const radio = make("input", { type: "radio", name: "zone", checked: index === this.#chosen, "aria-label": `Edit ${zone.name}` });
    radio.addEventListener("change", () => {
      this.#chosen = index;
      this.#show();
    });
    const name = make("input", { type: "text", value: zone.name, maxLength: 64, required: true, "aria-label": "Name of the zone" });
    name.addEventListener("input", () => {
      zone.name = name.value;
      this.#tile.redraw();
    });
    const remove = make("button", { type: "button", class: "quiet", "aria-label": `Remove ${zone.name}`, title: "Remove" }, "✕");
    remove.addEventListener("click", () => {
      this.#zones.splice(index, 1);
      this.#chosen = Math.max(0, Math.min(this.#chosen, this.#zones.length - 1));
      this.#show();
    });
    return make("li", {}, radio, name, remove);
  }

  #handle(index) {
    const { points } = this.#zones[this.#chosen];
    const handle = make("button", { type: "button", class: "corner", "aria-label": `Corner ${index + 1}: arrow keys move it, Delete removes it` });
    const put = () => {
      const { x, y, w, h } = this.#picture;
      handle.style.left = `${x + points[index][0] * w}px`;
      handle.style.top = `${y + points[index][1] * h}px`;
      this.#tile.redraw();
    };
    handle.addEventListener("pointerdown", (event) => {
      handle.setPointerCapture(event.pointerId);
      handle.onpointermove = (event) => {
        points[index] = this.#point(event);
        put();
      };
    });
    handle.addEventListener("pointerup", () => (handle.onpointermove = null));
    handle.addEventListener("keydown", (event) => {
      const moves = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };
      if (event.key === "Delete" || event.key === "Backspace") {
        points.splice(index, 1);
        this.#show();
      } else if (moves[event.key]) {
        points[index] = points[index].map((value, axis) => clamp(value + moves[event.key][axis]));
        put();
      } else return;
      event.preventDefault();
      event.stopPropagation();
    });
    // Its place is known when it is in the page.
    queueMicrotask(put);
    return handle;
  }

  async #save(event) {
    event.preventDefault();
    const zones = this.#zones.map(({ name, points }) => ({ name: name.trim(), points: points.map((point) => point.map(rounded)) }));
    const open = zones.find(({ points }) => points.length < 3);
    if (open !== undefined) {
      say(this.#problem, `“${open.name}” needs at least three corners: click into the picture.`);
      return;
    }
    try {
      await send("PUT", path`/api/cameras/${this.#tile.name}/zones`, zones);
      this.close(true);
    } catch (error) {
      say(this.#problem, error.message);
    }
  }
}

function clamp(value) {
  return Math.min(1, Math.max(0, value));
}

function rounded(value) {
  return Math.round(value * 1e4) / 1e4;
}

/** Where in a polygon a new corner belongs: into the side that it is nearest to. */
function place(points, [px, py]) {
  if (points.length < 3) return points.length;
  const distance = ([x1, y1], [x2, y2]) => {
    const [dx, dy] = [x2 - x1, y2 - y1];
    const along = clamp(((px - x1) * dx + (py - y1) * dy) / (dx * dx + dy * dy || 1));
    return Math.hypot(px - x1 - along * dx, py - y1 - along * dy);
  };
  const sides = points.map((point, index) => distance(point, points[(index + 1) % points.length]));
  return sides.indexOf(Math.min(...sides)) + 1;
}
