/**
 * What was found, by channel time, so that a box is drawn on the very picture that it belongs to.
 *
 * The analyser looks at fewer pictures than the browser shows: between two of its answers boxes are interpolated.
 */

/** Answers older than this (ns) are forgotten: longer than a browser is ever behind. */
const MEMORY = 15e9;
/** An answer holds for so long (ns) after its frame, when no other follows. */
const HOLDS = 0.4e9;

export class Timeline {
  /** In order of `pts`. */
  #answers = [];

  add(found) {
    const last = this.#answers.at(-1);
    // Another start of the camera: another order of time.
    if (last !== undefined && found.pts <= last.pts) this.#answers = [];
    this.#answers.push(found);
    while (found.pts - this.#answers[0].pts > MEMORY) this.#answers.shift();
  }

  clear() {
    this.#answers = [];
  }

  /** Objects in the picture of a channel time (ns); those of the newest answer if the time is unknown. */
  at(time) {
    const answers = this.#answers;
    if (answers.length === 0) return [];
    if (time === null) return answers.at(-1).objects;
    // Media times are rounded; half a frame at 100 frames a second is more than any rounding.
    const after = answers.findLastIndex((answer) => answer.pts <= time + 5e6) + 1;
    const before = answers[after - 1];
    const next = answers[after];
    if (before === undefined) return [];
    if (next === undefined || next.pts - before.pts > HOLDS) {
      return time - before.pts <= HOLDS ? before.objects : [];
    }
    const part = Math.max(0, (time - before.pts) / (next.pts - before.pts));
    return before.objects.flatMap((object) => {
      const later = next.objects.find((other) => other.id === object.id);
      // What is gone in the next answer goes half-way.
      if (later === undefined) return part < 0.5 ? [object] : [];
      const box = object.box.map((value, side) => value + (later.box[side] - value) * part);
      return [{ ...object, box }];
    });
  }
}
