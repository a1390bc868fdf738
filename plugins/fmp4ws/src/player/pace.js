/**
 * When a picture is to be shown: as early as can be without a stall, for the jitter that is measured.
 *
 * The *transit* of a sample is its arrival minus its media time: a number without meaning by itself, whose smallest value
 * is the path at its best. How much later a sample comes than that is its lateness; a sample that may be as late as the
 * worst ones needs a delay of as much:
 *
 *   transit  ▲        x            lateness of the worst
 *            │  x        x    ┐    samples: the delay
 *            │ x x x  x x  xx ┘
 *            │x───x──x──────x───   base: the smallest transit
 *            └───────────────────► arrival
 *
 * Both are taken from the last WINDOW seconds, so the delay grows with the second late sample and shrinks again. Once is
 * an accident, and it has happened already; twice is the network.
 *
 * All times are seconds.
 */

const WINDOW = 20;
/** Samples within so many seconds are one event: after a stall of the network many come at once, all of them late. */
const EVENT = 0.5;
/** Of the reserve that stalls have asked for, so many seconds are tried to be saved in a second. */
const FORGOTTEN = 0.00005;
/** No delay is longer: beyond that, to be live is worth more than to be smooth. */
const MOST = 1.5;

export class Pace {
  /** What the way from arrival to screen costs: at least, and as it turned out. */
  #least = 0;
  #reserve = 0;
  /** {since, transit, late} of each event in the window, the newest last. */
  #events = [];
  /** The smallest transit; null before the first sample. */
  base = null;
  /** How late the second-worst event was. */
  jitter = 0;
  stalls = 0;

  /** Pictures wait at least so long, whatever the network is like: for something that is to be shown with them. */
  wait = 0;

  /** What the way from arrival to screen costs in any case. */
  set least(seconds) {
    this.#least = this.#reserve = seconds;
  }

  /** What comes from here on has nothing to do with what came before: another connection, a pause, a change of the stream. */
  restart() {
    // The network is the same one.
    for (const event of this.#events) event.transit = Infinity;
    this.base = null;
  }

  /** What is to be shown at that media time is here. */
  arrived(pts, now) {
    const transit = now - pts;
    let event = this.#events.at(-1);
    if (event === undefined || now - event.since > EVENT) {
      event = { since: now, transit: Infinity, late: 0 };
      this.#events.push(event);
      while (now - this.#events[0].since > WINDOW) this.#events.shift();
      this.#reserve = Math.max(this.#least, this.#reserve - FORGOTTEN * EVENT);
      this.base = null;
    }
    event.transit = Math.min(event.transit, transit);
    this.base = this.base === null ? Math.min(...this.#events.map(({ transit }) => transit)) : Math.min(this.base, transit);
    event.late = Math.max(event.late, transit - this.base);
    this.jitter = this.#secondWorst();
  }

  /** Of at most two in a second for [WINDOW] seconds. */
  #secondWorst() {
    let [worst, second] = [0, 0];
    for (const { late } of this.#events) {
      if (late > worst) [worst, second] = [late, worst];
      else if (late > second) second = late;
    }
    return second;
  }

  /** It was not enough, although everything was in time. */
  stalled() {
    this.stalls++;
    this.#reserve = Math.min(this.#reserve + 0.008, this.#least + 0.2);
  }

  /** Between the moment at which a sample arrives at best, and the moment at which it is due. */
  get delay() {
    return Math.max(Math.min(this.jitter, MOST) + this.#reserve, this.wait);
  }

  /** When to show a sample; at once while nothing is known. */
  due(pts) {
    return this.base === null ? -Infinity : pts + this.base + this.delay;
  }

  /** The media time to be shown now; null when that is unknown. */
  position(now) {
    return this.base === null ? null : now - this.base - this.delay;
  }
}
