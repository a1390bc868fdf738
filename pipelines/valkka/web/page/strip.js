/** The strip of detections: one card for each thing that came into a picture, the newest first. */

const CARDS = 24;
/** Seconds for which something must be seen to be worth a card. */
const WORTH = 0.5;
/** Seconds after which something that was not seen has gone: who comes then is somebody else. */
const GONE = 3;

export class Strip {
  #list;
  /** By camera and object: when it was seen first and last, and its card. */
  #seen = new Map();

  constructor(list) {
    this.#list = list;
    setInterval(() => this.#forget(), 500);
  }

  /** These objects are on the screen now, in that picture: {source, width, height}. */
  show(camera, objects, picture) {
    const now = performance.now() / 1000;
    for (const object of objects) {
      const key = `${camera}/${object.id}`;
      const seen = this.#seen.get(key) ?? { first: now, card: null, size: 0 };
      seen.last = now;
      this.#seen.set(key, seen);
      if (now - seen.first < WORTH) continue;
      seen.card ??= this.#addCard(camera, object);
      this.#takePicture(seen, object.box, picture);
    }
  }

  #addCard(camera, { label }) {
    const card = document.createElement("li");
    card.className = "seen";
    const paragraph = (...parts) => {
      const line = document.createElement("p");
      line.append(...parts.map((text) => Object.assign(document.createElement("span"), { textContent: text })));
      return line;
    };
    const what = paragraph(camera, "now");
    what.lastChild.className = "now";
    const when = new Date().toLocaleTimeString([], { timeStyle: "medium", hourCycle: "h23" });
    const canvas = Object.assign(document.createElement("canvas"), { width: 264, height: 148 });
    card.append(canvas, what, paragraph(label, when));
    this.#list.querySelector(".nothing")?.remove();
    this.#list.prepend(card);
    while (this.#list.children.length > CARDS) this.#list.lastChild.remove();
    return card;
  }

  /** The object with a little around it, whenever there is clearly more of it to be seen than before. */
  #takePicture(seen, [x1, y1, x2, y2], { source, width: w, height: h }) {
    // What touches an edge is probably not all of it.
    const inside = Math.min(Math.max(Math.min(x1, 1 - x2), 0), 0.2);
    const size = (x2 - x1) * (y2 - y1) * (0.4 + 3 * inside);
    if (size < seen.size * 1.2 || w === 0) return;
    seen.size = size;
    const canvas = seen.card.querySelector("canvas");
    const shape = canvas.width / canvas.height;
    const height = Math.min(Math.max((y2 - y1) * h * 1.25, ((x2 - x1) * w * 1.25) / shape, h / 4), h);
    const width = Math.min(height * shape, w);
    const within = (middle, length, all) => Math.min(Math.max(middle - length / 2, 0), all - length);
    const left = within(((x1 + x2) / 2) * w, width, w);
    const top = within(((y1 + y2) / 2) * h, height, h);
    canvas.getContext("2d").drawImage(source, left, top, width, height, 0, 0, canvas.width, canvas.height);
  }

  #forget() {
    const now = performance.now() / 1000;
    for (const [key, { last, card }] of this.#seen) {
      if (now - last > 1) card?.querySelector(".now")?.remove();
      if (now - last > GONE) this.#seen.delete(key);
    }
  }
}
