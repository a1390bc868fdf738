/**
 * What the times of pictures mean outside of the page: channel time and UTC, as the server tells them.
 *
 * A player's time runs on through changes of the stream, whose own media times may begin anew; they are shifted then. So
 * the meaning of a time is that of the fragment it came with: a list of spans, each with a shift and a clock.
 */

/** Spans that are remembered: more than any buffer holds. */
const SPANS = 32;
/** A change of the stream that leaves a hole of more seconds closes it. */
const HOLE = 0.5;

export class Clock {
  /** {from, shift, pts0, epoch}: from that player's time on; the stream's times are less by `shift`. */
  #spans = [];
  #told = { pts0: null, epoch: null };
  #fresh = true;
  #changed = false;
  /** Where the media that came ends, in the player's time. */
  #end = null;
  /** What is to be added to the stream's times. */
  shift = 0;
  /** Server's UTC minus ours (s), and how long the question and its answer took. */
  #ahead = 0;
  #trip = Infinity;

  /** A player starts with times of its own. */
  restart() {
    this.#spans = [];
    this.#end = null;
    this.#changed = false;
    this.#fresh = true;
    this.shift = 0;
  }

  /** The server told what media times mean from the next fragment on. */
  tell({ pts0, epoch }) {
    this.#told = { pts0: typeof pts0 === "number" ? pts0 : null, epoch: typeof epoch === "number" ? epoch : null };
    this.#fresh = true;
  }

  /** The server said what UTC it has, `trip` seconds after it was asked. The quickest answer is the best one. */
  compare(utc, trip) {
    // Clocks drift, so what is old gets worse.
    this.#trip *= 1.02;
    if (!(trip >= 0 && trip <= this.#trip)) return;
    this.#trip = trip;
    this.#ahead = utc + trip / 2 - Date.now() / 1000;
  }

  /** The server's UTC at this moment. */
  get now() {
    return Date.now() / 1000 + this.#ahead;
  }

  /** What comes from here on is another stream, with times of its own maybe. */
  streamChanged() {
    this.#changed = this.#end !== null;
  }

  /** The next fragment has these samples. Whether its times are shifted otherwise than those before. */
  follow(samples) {
    const first = Math.min(...samples.map(({ pts }) => pts));
    const last = Math.max(...samples.map(({ pts, duration }) => pts + duration));
    let moved = false;
    if (this.#changed) {
      this.#changed = false;
      const gap = first + this.shift - this.#end;
      if (gap < -0.001 || gap > HOLE) {
        this.shift = this.#end - first;
        moved = this.#fresh = true;
      }
    }
    this.#end = Math.max(this.#end ?? -Infinity, last + this.shift);
    if (this.#fresh) {
      this.#fresh = false;
      const from = first + this.shift;
      this.#spans = this.#spans.filter((span) => span.from < from).slice(1 - SPANS);
      this.#spans.push({ from, shift: this.shift, ...this.#told });
    }
    return moved;
  }

  #at(time) {
    // Times of samples are rounded to the track's units.
    return this.#spans.findLast((span) => span.from <= time + 0.001) ?? this.#spans[0];
  }

  /** Channel time (ns) of a player's time (s); null when unknown. */
  channelTime(time) {
    const span = this.#at(time);
    return span === undefined || span.pts0 === null ? null : span.pts0 + (time - span.shift) * 1e9;
  }

  /** UTC (s since 1970) of a player's time (s); null when unknown. */
  utc(time) {
    const span = this.#at(time);
    return span === undefined || span.epoch === null ? null : span.epoch + time - span.shift;
  }

  /** Player's time (s) of a channel time (ns); null when unknown. */
  mediaTime(channelTime) {
    const known = this.#spans.filter((span) => span.pts0 !== null);
    const time = (span) => (channelTime - span.pts0) / 1e9 + span.shift;
    const span = known.findLast((span) => span.from <= time(span) + 0.001) ?? known[0];
    return span === undefined ? null : time(span);
  }
}
