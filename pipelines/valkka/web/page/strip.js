/**
 * The strip of events: one card for each thing that came into a picture, the newest first.
 *
 * Cards follow the life of objects as the analyser tells it (new, update, end). Their pictures are cut out of the video
 * that is played here, at the moment when the object is on the screen; of a camera that is not played here, the picture
 * is asked for, now and then.
 */

import { path, send } from "/api.js";
import { duration, icon, make, say } from "/dom.js";

const CARDS = 80;
/** Seconds for which something must be seen to be worth a card. */
const WORTH = 1;
/** Seconds after which something that no answer speaks of any more has gone, even if nobody has said so. */
const GONE = 10;
/** Seconds for which pictures may still come to the screen that were taken before the end: browsers may be far behind. */
const ECHO = 20;
/** Seconds between pictures that are asked for: each costs the server a process. */
const STILLS = 4;

export class Strip {
  #section;
  #list;
  #cameraFilter;
  #labelFilter;
  #empty;
  /** By camera and number: {after, card, size of its picture, since when it is heard of, when last, when it ended}. */
  #there = new Map();
  #asked = 0;

  /** `section` has a list, and selects with the names "camera" and "label". */
  constructor(section) {
    this.#section = section;
    this.#list = section.querySelector(".strip");
    this.#empty = section.querySelector(".nothing");
    this.#cameraFilter = section.querySelector("[name=camera]");
    this.#labelFilter = section.querySelector("[name=label]");
    for (const filter of [this.#cameraFilter, this.#labelFilter]) filter.addEventListener("change", () => this.#filter());
    setInterval(() => this.#forget(), 1000);
  }

  /** These are the cameras that there are. */
  cameras(names) {
    setOptions(this.#cameraFilter, names);
    this.#filter();
  }

  /** Shows what was seen by one camera, or by all (""). */
  only(camera) {
    this.#cameraFilter.value = camera;
    this.#filter();
  }

  /** What was seen before somebody looked, or while the connection was gone. */
  async catchUp() {
    const { objects } = await send("GET", "/api/objects");
    for (const life of objects.slice(0, CARDS).reverse()) {
      if (this.#cardOf(life.after.id)) continue;
      if (life.type !== "end") this.told(life, true);
      else if (lasted(life.after) >= WORTH) this.#end({ card: this.#addCard(life.after), ended: null }, lasted(life.after));
    }
  }

  /** An object has come, changed or gone. `played`: its camera can be seen here. */
  told({ type, after }, played) {
    const key = `${after.camera}/${after.object}`;
    let seen = this.#there.get(key);
    // The same number after a restart of the analyser is somebody else.
    if (seen !== undefined && seen.after.id !== after.id) this.#end(seen);
    if (seen?.after.id !== after.id) {
      // Whose beginning was not heard need not be shown at the end.
      if (type === "end") return;
      seen = { after, card: null, size: 0, since: performance.now() / 1000, played, ended: null };
      this.#there.set(key, seen);
    }
    seen.after = after;
    this.#stillThere(seen, lasted(after));
    if (seen.card !== null) describe(seen.card, after);
    if (type === "end") this.#end(seen, lasted(after));
  }

  /** What flickers gets no card. */
  #stillThere(seen, seconds) {
    const now = (seen.heard = performance.now() / 1000);
    if (seen.card !== null || Math.max(seconds, now - seen.since) < WORTH) return;
    seen.card = this.#addCard(seen.after);
    if (!seen.played) this.#askForPicture(seen, seen.after.camera);
  }

  /** An analyser has told of a frame: these objects are still there. */
  heard({ camera, objects }) {
    for (const { id } of objects) {
      const seen = this.#there.get(`${camera}/${id}`);
      if (seen !== undefined && seen.ended === null) this.#stillThere(seen, 0);
    }
  }

  /** These objects are on the screen now: the moment to take their pictures. */
  show(camera, objects, picture, size) {
    for (const object of objects) {
      const seen = this.#there.get(`${camera}/${object.id}`);
      if (seen?.card) takePicture(seen, object.box, picture, size);
    }
  }

  #cardOf(id) {
    return [...this.#list.children].find((card) => card.dataset.object === id);
  }

  #addCard(after) {
    const { id, camera, label, start_time } = after;
    const time = new Date(start_time * 1000);
    const when = time.toLocaleTimeString([], { timeStyle: "medium", hourCycle: "h23" });
    const card = make("li", { class: "seen" },
      make("a", { href: `#camera=${encodeURIComponent(camera)}` },
        make("span", { class: "thumb" }, icon("eye"), make("canvas", { width: 264, height: 148, hidden: true, "aria-hidden": "true" })),
        make("span", { class: "what" }, make("strong", {}, label), make("span", { class: "now" }, "now")),
        make("span", { class: "where" }, make("span", {}, camera), make("time", { dateTime: time.toISOString() }, when)),
        make("span", { class: "zones" })));
    Object.assign(card.dataset, { object: id, camera, label, start: start_time });
    describe(card, after);
    this.#list.insertBefore(card, [...this.#list.children].find(({ dataset }) => Number(dataset.start) <= start_time) ?? null);
    while (this.#list.children.length > CARDS) this.#list.lastChild.remove();
    const labels = new Set([...this.#list.children].map((card) => card.dataset.label));
    setOptions(this.#labelFilter, [...labels].sort());
    this.#filter();
    return card;
  }

  #end(seen, seconds) {
    seen.ended ??= performance.now() / 1000;
    const now = seen.card?.querySelector(".now, .lasted");
    now?.classList.replace("now", "lasted");
    // An analyser that was not heard for long may yet tell how long it was.
    if (now) say(now, seconds === undefined ? "" : duration(Math.max(1, seconds)));
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
    for (const [key, seen] of this.#there) {
      if (now - seen.heard > GONE) this.#end(seen);
      if (seen.ended !== null && now - seen.ended > ECHO) this.#there.delete(key);
    }
  }

  /** The whole picture of this moment, if somebody looks at the strip. */
  async #askForPicture(seen, camera) {
    const now = performance.now() / 1000;
    const { top, bottom } = this.#section.getBoundingClientRect();
    if (document.hidden || seen.card.hidden || bottom < 0 || top > innerHeight || now - this.#asked < STILLS) return;
    this.#asked = now;
    const picture = new Image();
    picture.src = path`/api/cameras/${camera}/frame.jpeg`;
    try {
      await picture.decode();
    } catch {
      return; // It has none, then.
    }
    // The video was quicker.
    if (seen.size > 0) return;
    takePicture(seen, [0, 0, 1, 1], picture, { width: picture.naturalWidth, height: picture.naturalHeight });
    // Any closer look is better.
    seen.size = Number.MIN_VALUE;
  }
}

/** Seconds for which an object was there, as far as that is known. */
function lasted({ start_time, end_time, frame_time }) {
  return (end_time ?? frame_time) - start_time;
}

function describe(card, { label, top_score, entered_zones }) {
  say(card.querySelector(".zones"), entered_zones.join(", "));
  card.querySelector("a").title = `${label}, ${Math.round(top_score * 100)}% sure`;
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
  const width = Math.min(Math.max((y2 - y1) * h * 1.25, ((x2 - x1) * w * 1.25) / shape, h / 4) * shape, w, h * shape);
  const height = width / shape;
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
