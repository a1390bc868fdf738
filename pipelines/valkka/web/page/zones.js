/**
 * The zone editor: polygons over the picture, by mouse, finger or keyboard.
 *
 * A click into the picture adds a corner to the chosen zone, and so does a button; corners are buttons that are dragged,
 * moved by arrow keys and removed by Delete. Nothing is written before "Save".
 */

import { path, send } from "/api.js";
import { icon, make, say } from "/dom.js";
import { pictureIn } from "/overlay.js";

/** Shares of the picture by which an arrow key moves a corner, and with Shift. */
const [STEP, SMALL_STEP] = [0.01, 0.002];
/** As many as the server takes. */
const MOST_CORNERS = 64;
/** Where the first corners go that are added by the button: a square in the middle. */
const FIRST = [[0.35, 0.35], [0.65, 0.35], [0.65, 0.65], [0.35, 0.65]];

export class ZoneEditor {
  #panel;
  #tile;
  #layer;
  #list;
  #problem;
  #corner;
  #zones = [];
  #chosen = 0;
  #done;
  /** Puts the corners' buttons where they belong. */
  #puts = [];
  #resized = new ResizeObserver(() => this.#puts.forEach((put) => put()));

  /** `panel` holds list and buttons; `done(saved)` is called at the end. */
  constructor(panel, tile, done) {
    this.#panel = panel;
    this.#tile = tile;
    this.#done = done;
    this.#list = panel.querySelector("ul");
    this.#problem = panel.querySelector(".problem");
    this.#corner = panel.querySelector(".add-corner");
    this.#zones = structuredClone(tile.zones);
    this.#layer = make("div", { class: "zones", role: "group", "aria-label": "Corners of the chosen zone" });
    this.#layer.addEventListener("click", (event) => event.target === this.#layer && this.#add(this.#point(event)));
    tile.part(".screen").append(this.#layer);
    this.#resized.observe(this.#layer);
    panel.querySelector(".add").onclick = () => this.#addZone();
    this.#corner.onclick = () => this.#add();
    panel.querySelector(".cancel").onclick = () => this.close(false);
    panel.querySelector("form").onsubmit = (event) => this.#save(event);
    panel.hidden = false;
    say(this.#problem, "");
    if (this.#zones.length === 0) this.#addZone();
    else this.#show(() => this.#field(this.#chosen));
    panel.scrollIntoView({ block: "nearest" });
  }

  close(saved = false) {
    this.#resized.disconnect();
    this.#layer.remove();
    this.#panel.hidden = true;
    this.#done(saved);
  }

  #addZone() {
    const taken = new Set(this.#zones.map(({ name }) => name));
    let number = this.#zones.length + 1;
    while (taken.has(`zone ${number}`)) number++;
    this.#zones.push({ name: `zone ${number}`, points: [] });
    this.#chosen = this.#zones.length - 1;
    this.#show(() => this.#field(this.#chosen));
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

  /** Adds a corner; without a point it goes where there is room for it, and gets the focus. */
  #add(point) {
    const points = this.#zones[this.#chosen]?.points;
    if (points === undefined || points.length >= MOST_CORNERS) return;
    const to = point ?? free(points);
    const index = place(points, to);
    points.splice(index, 0, to);
    this.#show(point === undefined ? () => this.#layer.children[index] : undefined);
  }

  /** What is edited is what is seen. `focus` finds what has the focus afterwards. */
  #show(focus) {
    // Drawn with the picture, as zones are.
    this.#tile.zones = this.#zones;
    this.#tile.redraw();
    this.#list.replaceChildren(...this.#zones.map((zone, index) => this.#row(zone, index)));
    const corners = this.#zones[this.#chosen]?.points ?? [];
    this.#corner.disabled = this.#zones.length === 0 || corners.length >= MOST_CORNERS;
    const handles = corners.map((_, index) => this.#handle(index));
    this.#layer.replaceChildren(...handles.map(([handle]) => handle));
    this.#puts = handles.map(([, put]) => put);
    this.#puts.forEach((put) => put());
    const focused = focus?.();
    focused?.focus({ preventScroll: focused.matches(".corner") });
    focused?.select?.();
  }

  #field(index) {
    return this.#list.children[index]?.querySelector("[type=text]");
  }

  #row(zone, index) {
    const radio = make("input", { type: "radio", name: "zone", checked: index === this.#chosen, "aria-label": `Edit ${zone.name}` });
    radio.addEventListener("change", () => {
      this.#chosen = index;
      this.#show(() => this.#list.children[index].querySelector("[type=radio]"));
    });
    const name = make("input", { type: "text", value: zone.name, maxLength: 64, required: true, "aria-label": "Name of the zone" });
    name.addEventListener("input", () => {
      zone.name = name.value;
      this.#tile.redraw();
    });
    const remove = make("button", { type: "button", class: "quiet", "aria-label": `Remove ${zone.name}`, title: "Remove" }, icon("close"));
    remove.addEventListener("click", () => {
      this.#zones.splice(index, 1);
      this.#chosen = Math.max(0, Math.min(this.#chosen, this.#zones.length - 1));
      this.#show(() => this.#field(this.#chosen) ?? this.#panel.querySelector(".add"));
    });
    return make("li", {}, radio, name, remove);
  }

  /** A corner's button, and what puts it where it belongs. */
  #handle(index) {
    const { name, points } = this.#zones[this.#chosen];
    const handle = make("button", { type: "button", class: "corner" });
    const put = () => {
      const { x, y, w, h } = this.#picture;
      handle.style.left = `${x + points[index][0] * w}px`;
      handle.style.top = `${y + points[index][1] * h}px`;
      const [across, down] = points[index].map((value) => Math.round(value * 100));
      handle.setAttribute("aria-label", `${name}, corner ${index + 1} of ${points.length}, ${across}% across, ${down}% down. Arrow keys move it, Delete removes it`);
    };
    handle.addEventListener("pointerdown", (event) => {
      handle.setPointerCapture(event.pointerId);
      handle.onpointermove = (event) => {
        points[index] = this.#point(event);
        put();
        this.#tile.redraw();
      };
    });
    handle.addEventListener("lostpointercapture", () => (handle.onpointermove = null));
    handle.addEventListener("keydown", (event) => {
      const step = event.shiftKey ? SMALL_STEP : STEP;
      const move = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key];
      if (event.key === "Delete" || event.key === "Backspace") {
        points.splice(index, 1);
        this.#show(() => this.#layer.children[Math.min(index, points.length - 1)] ?? this.#corner);
      } else if (move !== undefined) {
        points[index] = points[index].map((value, axis) => clamp(value + move[axis]));
        put();
        this.#tile.redraw();
      } else return;
      event.preventDefault();
      event.stopPropagation();
    });
    return [handle, put];
  }

  async #save(event) {
    event.preventDefault();
    const zones = this.#zones.map(({ name, points }) => ({ name: name.trim(), points: points.map((point) => point.map(rounded)) }));
    const open = zones.find(({ points }) => points.length < 3);
    if (open !== undefined) {
      say(this.#problem, `“${open.name}” needs at least three corners: click into the picture, or press “Add corner”.`);
      return;
    }
    try {
      await send("PUT", path`/api/cameras/${this.#tile.name}/zones`, zones);
      this.#tile.zones = zones;
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

/** Where a corner can be added: of a square at first, then in the middle of the longest side. */
function free(points) {
  if (points.length < FIRST.length) return FIRST.find(([x, y]) => !points.some((point) => Math.hypot(point[0] - x, point[1] - y) < 0.02)) ?? FIRST[0];
  const sides = points.map((point, index) => [point, points[(index + 1) % points.length]]);
  const length = ([[x1, y1], [x2, y2]]) => Math.hypot(x2 - x1, y2 - y1);
  const [[x1, y1], [x2, y2]] = sides.reduce((longest, side) => (length(side) > length(longest) ? side : longest));
  return [(x1 + x2) / 2, (y1 + y2) / 2];
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
