/** The strip of events: one card for each thing that came into a picture, the newest first. */

import { icon, make, say } from "/dom.js";

const CARDS = 80;
/** Seconds for which something must be seen to be worth a card. */
const WORTH = 0.5;
/** Seconds after which the exact picture is not waited for. */
const PATIENCE = 1.5;
/** Seconds after which something that was not seen has gone: who comes then is somebody else. */
const GONE = 3;

export class Strip {
  #list;
  #cameraFilter;
  #labelFilter;
  #empty;
  /** By camera and object: when it was seen first and last, and its card. */
  #seen = new Map();

  /** `section` has a list, and selects with the names "camera" and "label". */
  constructor(section) {
    this.#list = section.querySelector(".strip");
    this.#empty = section.querySelector(".nothing");
    this.#cameraFilter = section.querySelector("[name=camera]");
    this.#labelFilter = section.querySelector("[name=label]");
    for (const filter of [this.#cameraFilter, this.#labelFilter]) filter.addEventListener("change", () => this.#filter());
    setInterval(() => this.#forget(), 500);
  }

  /** These are the cameras that there are. */
  cameras(names) {
    setOptions(this.#cameraFilter, names);
  }

  /** Shows what was seen by one camera, or by all (""). */
  only(camera) {
    this.#cameraFilter.value = camera;
    this.#filter();
  }

  /** An analyser has told of a frame. `picture` shows the camera at about this time, null if nobody looks at it. */
  heard({ camera, objects }, picture, size) {
    const now = performance.now() / 1000;
    for (const object of objects) {
      const key = `${camera}/${object.id}`;
      const seen = this.#seen.get(key) ?? { first: now, card: null, size: 0 };
      seen.last = now;
      this.#seen.set(key, seen);
      if (now - seen.first >= WORTH) seen.card ??= this.#addCard(camera, object);
      // The right picture has not come to the screen: one of about the right time is better than none.
      if (seen.card !== null && seen.size === 0 && picture !== null && now - seen.first >= PATIENCE) {
        takePicture(seen, object.box, picture, size);
        seen.size = Number.MIN_VALUE;
      }
    }
  }

  /** These objects are on the screen now: the moment to take their pictures. */
  show(camera, objects, picture, size) {
    for (const object of objects) {
      const seen = this.#seen.get(`${camera}/${object.id}`);
      if (seen?.card) takePicture(seen, object.box, picture, size);
    }
  }

  #addCard(camera, { label }) {
    const time = new Date();
    const when = time.toLocaleTimeString([], { timeStyle: "medium", hourCycle: "h23" });
    const card = make("li", { class: "seen" },
      make("a", { href: `#camera=${encodeURIComponent(camera)}` },
        make("span", { class: "thumb" }, icon("eye"), make("canvas", { width: 264, height: 148, hidden: true })),
        make("span", { class: "what" }, make("strong", {}, label), make("span", { class: "now" }, "now")),
        make("span", { class: "where" }, make("span", {}, camera), make("time", { dateTime: time.toISOString() }, when))));
    card.dataset.camera = camera;
    card.dataset.label = label;
    this.#list.prepend(card);
    while (this.#list.children.length > CARDS) this.#list.lastChild.remove();
    const labels = new Set([...this.#list.children].map((card) => card.dataset.label));
    setOptions(this.#labelFilter, [...labels].sort());
    this.#filter();
    return card;
  }

  #filter() {
    const [camera, label] = [this.#cameraFilter.value, this.#labelFilter.value];
    let shown = 0;
    for (const card of this.#list.children) {
      card.hidden = (camera !== "" && card.dataset.camera !== camera) || (label !== "" && card.dataset.label !== label);
      shown += !card.hidden;
    }
    this.#empty.hidden = shown > 0;
    say(this.#empty, this.#list.children.length === 0 ? "Nothing has been seen yet." : "Nothing of this kind has been seen yet.");
  }

  #forget() {
    const now = performance.now() / 1000;
    for (const [key, { last, card }] of this.#seen) {
      if (now - last > 1) card?.querySelector(".now")?.remove();
      if (now - last > GONE) this.#seen.delete(key);
    }
  }
}

/** The object with a little around it, whenever there is clearly more of it to be seen than before. */
function takePicture(seen, [x1, y1, x2, y2], picture, { width: w, height: h }) {
  // What touches an edge is probably not all of it.
  const inside = Math.min(Math.max(Math.min(x1, 1 - x2), 0), 0.2);
  const size = (x2 - x1) * (y2 - y1) * (0.4 + 3 * inside);
  if (size < seen.size * 1.2 || !w || !h) return;
  seen.size = size;
  const canvas = seen.card.querySelector("canvas");
  const shape = canvas.width / canvas.height;
  const height = Math.min(Math.max((y2 - y1) * h * 1.25, ((x2 - x1) * w * 1.25) / shape, h / 4), h);
  const width = Math.min(height * shape, w);
  const within = (middle, length, all) => Math.min(Math.max(middle - length / 2, 0), all - length);
  const left = within(((x1 + x2) / 2) * w, width, w);
  const top = within(((y1 + y2) / 2) * h, height, h);
  canvas.getContext("2d").drawImage(picture, left, top, width, height, 0, 0, canvas.width, canvas.height);
  canvas.hidden = false;
}

/** The first option stands for all of them and stays. */
function setOptions(select, names) {
  const present = [...select.options].slice(1).map(({ value }) => value);
  if (present.join("\n") === names.join("\n")) return;
  const chosen = select.value;
  select.replaceChildren(select.options[0], ...names.map((name) => new Option(name, name)));
  select.value = names.includes(chosen) ? chosen : "";
}
