/**
 * Plays fragments by Media Source Extensions: pictures and sound, in a <video>.
 *
 * A media element plays what it has and stops when it has no more; it does not know that it is to be live. So this moves
 * its playback rate until the position is the one that [Pace] wants, and jumps only when it is far behind or before a hole.
 */

/**
 * What a fragment costs from here to the screen. A picture that comes in the last moment makes the element stop and go on
 * unseen; sound must never stop.
 */
export const MSE_RESERVE = 0.01;
export const MSE_SOUND_RESERVE = 0.08;

/** Bytes that may wait to be appended; beyond, the oldest go, up to a keyframe. */
const MOST_WAITING = 8 << 20;
/** Pictures that may wait to be presented, for the counting of those that are not. */
const MOST_COMING = 1000;
/** Seconds behind that are not worth playing. */
const FAR = 1;
/** Seconds that are worth a change of rate, and when it is enough. */
const [NOTABLE, FINE] = [0.012, 0.004];
/** Seconds after a jump in which nothing is smooth yet. */
const SETTLED = 0.5;
/** Seconds by which a picture must be late to be seen to be: more than a refresh of the screen. */
const VISIBLE = 0.025;
/** Seconds of what was played that are kept, and when to trim. */
const [KEEP, TRIM] = [4, 12];

const MediaSourceKind = () => globalThis.ManagedMediaSource ?? globalThis.MediaSource;

export function mseAvailable() {
  return MediaSourceKind() !== undefined;
}

/** Whether this browser plays that type. */
export function msePlays(mime) {
  return MediaSourceKind()?.isTypeSupported(mime) ?? false;
}

export class MsePlayback {
  kind = "mse";
  #video;
  #pace;
  #clock;
  #fail;
  #wantKeyframe;
  #source = new (MediaSourceKind())();
  #buffer = null;
  /** What waits to be appended: {data, mime} of an init segment, {data, shift, key, frames} of a fragment. */
  #queue = [];
  #waiting = 0;
  /** What the first init segment has: a source takes no track more or less later on. */
  #kinds = null;
  #needsKeyframe = false;
  #keyframes = [];
  /** Times of the pictures that were not presented yet. */
  #coming = [];
  #ending = false;
  #started = false;
  #correcting = false;
  #jumped = 0;
  #presented = null;
  #held = false;
  dropped = 0;

  /**
   * @param video shows it
   * @param pace is told when samples come, and asked where to be
   * @param clock knows by how much the stream's times are shifted
   * @param fail is called with a reason when it cannot go on
   * @param wantKeyframe is called when the next fragment is of no use without one
   */
  constructor(video, { pace, clock, fail, wantKeyframe }) {
    this.#video = video;
    this.#pace = pace;
    this.#clock = clock;
    this.#fail = fail;
    this.#wantKeyframe = wantKeyframe;
    const address = URL.createObjectURL(this.#source);
    this.#source.addEventListener("sourceopen", () => {
      URL.revokeObjectURL(address);
      this.#pump();
    }, { once: true });
    video.disableRemotePlayback = true; // ManagedMediaSource demands it.
    video.src = address;
  }

  /** Whether it can go on with that stream. */
  takes(stream) {
    return this.#kinds === null || this.#kinds === kinds(stream);
  }

  /** The init segment of a stream; the first one, or another one in mid-stream. */
  init(stream, data) {
    const { mime } = stream;
    this.#kinds ??= kinds(stream);
    this.#needsKeyframe = false;
    this.#push({ data, mime });
  }

  /** A fragment that came at that time, with its samples, all and those of its main track. */
  fragment(data, samples, main, now) {
    samples.forEach(({ pts }) => this.#pace.arrived(pts + this.#clock.shift, now));
    const key = main.find((sample) => sample.key);
    if (main.length > 0 && this.#needsKeyframe) {
      if (key === undefined) {
        this.dropped += main.length;
        return;
      }
      this.#needsKeyframe = false;
    }
    if (key !== undefined) this.#keyframes.push(key.pts + this.#clock.shift);
    this.#coming.push(...main.map(({ pts }) => pts + this.#clock.shift));
    // In a tab that is heard and not seen nothing is presented.
    if (this.#coming.length > MOST_COMING) this.#coming.splice(0, this.#coming.length - MOST_COMING);
    this.#push({ data, key: key !== undefined, shift: this.#clock.shift, frames: main.length });
  }

  /** Nothing more will come. */
  end() {
    this.#ending = true;
    this.#pump();
  }

  /** Nothing comes for a while, as was wished. */
  hold() {
    this.#held = true;
    this.#video.pause();
  }

  /** It goes on, with a keyframe. */
  release() {
    this.#held = false;
    this.#needsKeyframe = true;
    this.keepUp();
  }

  close() {
    this.#queue = [];
    this.#fail = () => {};
    this.#held = true;
    // Gives back what is buffered.
    this.#video.removeAttribute("src");
    this.#video.load();
  }

  /**
   * A picture was presented, at that time of the screen (s). One that came noticeably later than the one before it and
   * its media time allow has waited for data: browsers run dry for a moment without anybody seeing it, and that is fine.
   */
  presented(mediaTime, at) {
    const last = this.#presented;
    this.#presented = { mediaTime, at };
    const passed = this.#coming.filter((pts) => pts < mediaTime - 0.002).length;
    this.#coming = this.#coming.filter((pts) => pts > mediaTime + 0.002);
    if (last === null || this.#held || this.#ending || at - this.#jumped < SETTLED) return;
    const step = mediaTime - last.mediaTime;
    if (step <= 0 || step > FAR) return;
    this.dropped += passed;
    if (at - last.at - step > VISIBLE) this.#pace.stalled();
  }

  /** Seconds of media ahead of what is shown, holes not counted. */
  get ahead() {
    const ranges = this.#video.buffered;
    return ranges.length > 0 ? Math.max(0, ranges.end(ranges.length - 1) - this.#video.currentTime) : 0;
  }

  #push(item) {
    this.#queue.push(item);
    this.#waiting += item.data.byteLength;
    if (this.#waiting > MOST_WAITING) this.#shed();
    this.#pump();
  }

  /** Makes room: all up to the newest keyframe that waits, or all media. Init segments stay. */
  #shed() {
    const newest = this.#queue.findLastIndex((item) => item.key);
    const lost = (item, index) => item.mime === undefined && (index < newest || newest <= 0);
    if (newest <= 0) {
      this.#needsKeyframe = true;
      this.#wantKeyframe();
    }
    this.#queue.filter(lost).forEach((item) => (this.dropped += item.frames));
    this.#queue = this.#queue.filter((item, index) => !lost(item, index));
    this.#waiting = this.#queue.reduce((sum, { data }) => sum + data.byteLength, 0);
  }

  #pump() {
    if (this.#source.readyState !== "open" || this.#buffer?.updating) return;
    try {
      if (this.#buffer !== null && this.#trim(TRIM, KEEP)) return;
      if (this.#queue.length === 0) {
        if (this.#ending) this.#source.endOfStream();
        return;
      }
      this.#append(this.#next());
    } catch (error) {
      if (error.name !== "QuotaExceededError" || !this.#trim(2, 1)) this.#fail(error.message);
    }
  }

  /** What can be appended in one go. */
  #next() {
    let count = 1;
    const [{ mime, shift }] = this.#queue;
    const alike = (item) => item.mime === undefined && item.shift === shift;
    while (mime === undefined && count < this.#queue.length && alike(this.#queue[count])) count++;
    return this.#queue.slice(0, count);
  }

  #append(items) {
    const [{ mime, shift }] = items;
    if (this.#buffer === null) {
      this.#buffer = this.#source.addSourceBuffer(mime);
      this.#buffer.addEventListener("updateend", () => this.#appended());
      this.#buffer.addEventListener("error", () => this.#fail("the stream cannot be decoded"));
    } else if (mime !== undefined) {
      this.#buffer.changeType(mime);
    }
    if (shift !== undefined && this.#buffer.timestampOffset !== shift) this.#buffer.timestampOffset = shift;
    this.#buffer.appendBuffer(items.length === 1 ? items[0].data : joined(items.map(({ data }) => data)));
    this.#queue.splice(0, items.length);
    this.#waiting = this.#queue.reduce((sum, { data }) => sum + data.byteLength, 0);
  }

  #appended() {
    this.keepUp();
    this.#pump();
  }

  /** Removes what was played more than `after` seconds ago, up to a keyframe `keep` seconds ago. Whether there was any. */
  #trim(after, keep) {
    const ranges = this.#buffer.buffered;
    const now = this.#video.currentTime;
    if (ranges.length === 0 || now - ranges.start(0) < after) return false;
    // Removal goes on to the next keyframe, so it must end at one that is not needed.
    const end = this.#keyframes.findLast((time) => time <= now - keep);
    if (end === undefined || end <= ranges.start(0)) return false;
    this.#keyframes = this.#keyframes.filter((time) => time >= end);
    this.#buffer.remove(ranges.start(0), end);
    return true;
  }

  /** Goes where it ought to be. */
  keepUp() {
    const video = this.#video;
    const ranges = video.buffered;
    const wanted = this.#pace.position(performance.now() / 1000);
    if (ranges.length === 0 || this.#held || wanted === null) return;
    const last = ranges.length - 1;
    const [start, end] = [ranges.start(last), ranges.end(last)];
    const behind = wanted - video.currentTime;
    // Before the newest range there is a hole, which no playback rate crosses.
    const inHole = video.currentTime < start - 0.001 && !(last > 0 && video.currentTime < ranges.end(last - 1) - 0.05);
    if (!this.#started || inHole || behind > FAR) {
      this.#jump(Math.min(Math.max(start, wanted), end));
    } else if (!this.#ending) {
      this.#adjust(behind);
    }
    if (video.paused && !video.ended) this.#play();
  }

  #jump(to) {
    if (this.#started && this.#ending) return;
    this.#started = true;
    this.#correcting = false;
    this.#jumped = performance.now() / 1000;
    this.#video.currentTime = to;
    this.#video.playbackRate = 1;
  }

  #adjust(behind) {
    const far = Math.abs(behind);
    this.#correcting = this.#correcting ? far > FINE : far > NOTABLE;
    // Each change costs a little, so they are steps.
    const wanted = !this.#correcting ? 1 : behind > 0 ? 1.05 + Math.min(behind, 0.45) : Math.max(1 + behind, 0.9) - 0.02;
    const rate = Math.round(wanted * 50) / 50;
    if (this.#video.playbackRate !== rate) this.#video.playbackRate = rate;
  }

  #play() {
    this.#video.play().catch((error) => {
      // Browsers let only silent videos start by themselves.
      if (error.name === "NotAllowedError" && !this.#video.muted) {
        this.#video.muted = true;
        this.#video.play().catch(() => {});
      }
    });
  }
}

/** Of the tracks, in no order: "audio,video". */
function kinds({ tracks }) {
  return [...tracks.values()].map(({ kind }) => kind).sort().join();
}

function joined(parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(new Uint8Array(part), at);
    at += part.byteLength;
  }
  return whole;
}
