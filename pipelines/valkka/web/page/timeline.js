/**
 * What was found, by channel time, so that a box is drawn on the very picture that it belongs to.
 *
 * The analyser looks at fewer pictures than the browser shows: between two of its answers boxes are interpolated. Where
 * no answer is near, nothing is drawn: a box in the wrong place is worse than none.
 *
 * An answer comes later than its picture, by the time that looking takes. [Timeline.lag] is by how much: so long must a
 * picture wait until all that is to be drawn on it is there.
 */

/** Answers older than this (ns) are forgotten: longer than a browser is ever behind. */
const MEMORY = 15e9;
/** Answers that are further apart (ns) have nothing to do with what is between them. */
const NEAR = 0.6e9;
/** Half a frame at 25 frames a second (ns): nobody's answer is nearer to another picture. */
const SAME = 20e6;
/** Seconds for which a lag is remembered. */
const WINDOW = 15;
/** What is added to the lag (s): the next answer may take a little longer. */
const MARGIN = 0.04;
/** Steps of the lag (s): each change costs a moment of faster or slower pictures. */
const STEP = 0.05;
/** No picture waits longer (s). */
const MOST = 2.5;

export class Timeline {
  /** In order of `pts`. */
  #answers = [];
  /** {at, lag}: the largest of each second. */
  #lags = [];

  /** `newest`: channel time (ns) of the newest picture that is here, null when unknown. `now` in seconds. */
  add(found, newest, now) {
    const last = this.#answers.at(-1);
    // Another start of the camera: another order of time.
    if (last !== undefined && found.pts <= last.pts) this.#answers = [];
    const before = this.#answers.at(-1);
    this.#answers.push(found);
    while (found.pts - this.#answers[0].pts > MEMORY) this.#answers.shift();
    if (newest === null) return;
    // What lies between the last answer and this one could not be drawn before this one was here.
    const from = before !== undefined && found.pts - before.pts <= NEAR ? before.pts : found.pts;
    this.#measure((newest - from) / 1e9, now);
  }

  #measure(lag, now) {
    const last = this.#lags.at(-1);
    if (last === undefined || now - last.at > 1) this.#lags.push({ at: now, lag });
    else last.lag = Math.max(last.lag, lag);
    while (now - this.#lags[0].at > WINDOW) this.#lags.shift();
  }

  /** Seconds by which pictures must wait for what is said of them; 0 if nobody says anything. */
  lag(now) {
    if (this.#lags.length === 0 || now - this.#lags.at(-1).at > 5) return 0;
    // Not the largest: once in fifteen seconds a box may be missing, rather than everything be late.
    const sorted = this.#lags.map(({ lag }) => lag).sort((a, b) => b - a);
    const lag = sorted[Math.min(1, sorted.length - 1)];
    return lag <= 0 ? 0 : Math.min(Math.ceil((lag + MARGIN) / STEP) * STEP, MOST);
  }

  clear() {
    this.#answers = [];
  }

  /** Objects in the picture of a channel time (ns); none if the time is unknown. */
  at(time) {
    const answers = this.#answers;
    if (time === null || answers.length === 0) return [];
    // Media times are rounded; half a frame at 100 frames a second is more than any rounding.
    const after = answers.findLastIndex((answer) => answer.pts <= time + 5e6) + 1;
    const before = answers[after - 1];
    const next = answers[after];
    const apart = before !== undefined && next !== undefined ? next.pts - before.pts : Infinity;
    if (apart > NEAR) {
      const nearest = [before, next].find((answer) => answer !== undefined && Math.abs(answer.pts - time) <= SAME);
      return nearest?.objects ?? [];
    }
    const part = Math.max(0, (time - before.pts) / apart);
    // What is gone in the next answer, or was not there in the last, is only where it was seen.
    const onlyBefore = time - before.pts <= SAME;
    const onlyNext = next.pts - time <= SAME && !onlyBefore;
    const moved = before.objects.flatMap((object) => {
      const later = next.objects.find((other) => other.id === object.id);
      if (later === undefined) return onlyBefore ? [object] : [];
      const box = object.box.map((value, side) => value + (later.box[side] - value) * part);
      return [{ ...object, box }];
    });
    const known = new Set(before.objects.map(({ id }) => id));
    return onlyNext ? [...moved, ...next.objects.filter(({ id }) => !known.has(id))] : moved;
  }
}
