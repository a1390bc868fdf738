/**
 * Plays pictures by WebCodecs, sample by sample, on a canvas: the least delay there is, and no sound.
 *
 * What arrives waits as it came, is decoded when its time is near (decoders hold few pictures), and drawn when it is due by
 * [Pace]; of several that are due only the newest.
 *
 *   fragment() ──► waiting ──feed()──► decoder ──► pictures ──show()──► canvas
 */

/** Decoded pictures that wait for their time, and samples in front of the decoder. */
const MOST_DECODED = 8;
/** Seconds of media that may wait; beyond, the oldest go, up to a keyframe. */
const MOST_WAITING = 5;
/** Seconds before its time at which a sample is decoded. */
const LEAD = 0.06;
/** The same in samples, where pictures are reordered: more than depend on a later one, or than a decoder wants to see first. */
const NEAR = 8;
/** A picture that is so late (seconds) is passed over for newer ones, but not for longer than that. */
const OLD = 0.2;
/** A picture that is due within so many seconds is due: half of what a screen shows one for. */
const SLACK = 0.004;

/** Whether there is such a thing here: browsers have it on https, and on the machine itself. */
export function codecsAvailable() {
  return globalThis.VideoDecoder !== undefined && globalThis.EncodedVideoChunk !== undefined;
}

/** Of the codecs of a type, the one that is of pictures. */
function pictureCodec(mime) {
  const codecs = /codecs="?([^"]*)"?/.exec(mime)?.[1].split(",").map((codec) => codec.trim()) ?? [];
  return codecs.find((codec) => /^(avc|hvc|hev|av01|vp0)/.test(codec));
}

export class CodecsPlayback {
  kind = "webcodecs";
  #canvas;
  #context;
  #pace;
  #clock;
  #fail;
  #shown;
  #wantKeyframe;
  #decoder;
  /** Of the newest init segment: {codec, description, reorders}; its samples keep it. */
  #config = null;
  /** What the decoder is set up for: {config, quick}. */
  #configured = null;
  /** Samples that wait to be decoded: {pts, duration, key, chunk, config, arrived}. */
  #waiting = [];
  /** Of the newest sample that was decoded: when it came, and when it went to the decoder. */
  #fed = { arrived: 0, at: 0 };
  /** Decoded pictures, in order. */
  #pictures = [];
  #needsKeyframe = true;
  #timer;
  /** When something was drawn last, and its time. */
  #drawn = -Infinity;
  #last = null;
  #held = false;
  dropped = 0;
  frames = 0;

  /**
   * @param canvas shows it
   * @param pace is told when pictures could be shown, and asked when they are to be
   * @param clock knows by how much the stream's times are shifted
   * @param shown is called with {mediaTime, width, height} of each picture
   * @param fail is called with a reason when it cannot go on
   * @param wantKeyframe is called when the next fragment is of no use without one
   */
  constructor(canvas, { pace, clock, shown, fail, wantKeyframe }) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d", { alpha: false });
    this.#pace = pace;
    this.#clock = clock;
    this.#shown = shown;
    this.#fail = fail;
    this.#wantKeyframe = wantKeyframe;
    this.#decoder = new VideoDecoder({
      output: (picture) => this.#decoded(picture),
      error: (error) => this.#fail(`the stream cannot be decoded: ${error.message}`),
    });
    this.#decoder.addEventListener("dequeue", () => this.#feed());
  }

  /** Whether it can go on with that stream: always. */
  takes() {
    return true;
  }

  /** Another stream from here on; samples of the one before may still wait. */
  init({ mime, main }) {
    this.#config = { codec: pictureCodec(mime), description: main.description, reorders: false };
    this.#needsKeyframe = true;
  }

  /** A fragment that came at that time, with its samples of the picture's track. */
  fragment(_data, _samples, main, now) {
    for (const sample of main) this.#take(sample, now);
    if (this.#waiting.length > 1 && this.#waiting.at(-1).pts - this.#waiting[0].pts > MOST_WAITING) this.#shed();
    this.#feed();
  }

  #take(sample, now) {
    if (this.#needsKeyframe && !sample.key) {
      this.dropped++;
      return;
    }
    this.#needsKeyframe = false;
    this.#config.reorders ||= Math.abs(sample.pts - sample.dts) > sample.duration / 2;
    const pts = sample.pts + this.#clock.shift;
    // Where pictures are reordered, a sample says little: see #decoded.
    if (!this.#config.reorders) this.#pace.arrived(pts, now);
    const chunk = new EncodedVideoChunk({
      type: sample.key ? "key" : "delta",
      timestamp: Math.round(pts * 1e6),
      duration: Math.round(sample.duration * 1e6),
      data: sample.data,
    });
    this.#waiting.push({ pts, duration: sample.duration, key: sample.key, chunk, config: this.#config, arrived: now });
  }

  /** Makes room. */
  #shed() {
    const newest = this.#waiting.findLastIndex((sample) => sample.key);
    const count = newest > 0 ? newest : this.#waiting.length;
    this.dropped += count;
    this.#waiting.splice(0, count);
    if (newest > 0) return;
    this.#needsKeyframe = true;
    this.#wantKeyframe();
  }

  /** Nothing more will come. */
  end() {
    this.#feed(true);
    this.#flush();
  }

  /** Nothing comes for a while, as was wished. */
  hold() {
    this.#held = true;
    this.#clear();
  }

  /** It goes on, with a keyframe. */
  release() {
    this.#held = false;
    this.#needsKeyframe = true;
  }

  close() {
    this.#clear();
    this.#fail = this.#shown = () => {};
    if (this.#decoder.state !== "closed") this.#decoder.close();
  }

  keepUp() {
    this.#feed();
  }

  /** Seconds of media ahead of what is shown. */
  get ahead() {
    const last = this.#waiting.at(-1)?.pts ?? (this.#pictures.at(-1)?.timestamp ?? 0) / 1e6;
    return this.#last === null ? 0 : Math.max(0, last - this.#last);
  }

  #clear() {
    clearTimeout(this.#timer);
    this.#waiting = [];
    this.#pictures.splice(0).forEach((picture) => picture.close());
    if (this.#decoder.state === "configured") this.#decoder.reset();
    this.#configured = null;
  }

  /** What was decoded is to be seen. */
  #flush() {
    if (this.#decoder.state === "configured") this.#decoder.flush().catch(() => {});
  }

  /** Decodes what is near, and shows what is due. */
  #feed(all = false) {
    clearTimeout(this.#timer);
    if (this.#held || this.#decoder.state === "closed") return;
    const full = () => this.#pictures.length >= MOST_DECODED || this.#decoder.decodeQueueSize >= MOST_DECODED;
    while (this.#waiting.length > 0 && (all || (!full() && this.#near() <= performance.now() / 1000))) {
      this.#decode(this.#waiting.shift());
    }
    this.#show();
    // A full decoder says when it is no longer full.
    const next = Math.min(
      this.#waiting.length > 0 && !full() ? this.#near() : Infinity,
      this.#pictures.length > 0 ? this.#due(this.#pictures[0]) - SLACK : Infinity,
    );
    if (next === Infinity) return;
    this.#timer = setTimeout(() => this.#feed(), Math.max(1, (next - performance.now() / 1000) * 1000));
  }

  #decode({ key, chunk, config, arrived }) {
    // Pictures may not come in the order in which they are shown: then a decoder must not give each at once.
    const quick = !config.reorders;
    try {
      // It can be told so, as anything else about the stream, before a keyframe only.
      if (key && (this.#configured?.config !== config || this.#configured.quick !== quick)) {
        this.#flush();
        this.#decoder.configure({ codec: config.codec, description: config.description, optimizeForLatency: quick });
        this.#configured = { config, quick };
      }
      this.#fed = { arrived, at: performance.now() / 1000 };
      this.#decoder.decode(chunk);
    } catch (error) {
      this.#fail(error.message);
    }
  }

  /** When the next sample is to be decoded. */
  #near() {
    const { config: { reorders }, duration } = this.#waiting[0];
    const first = Math.min(...this.#waiting.slice(0, reorders ? NEAR : 1).map(({ pts }) => pts));
    return this.#pace.due(first) - (reorders ? NEAR * duration : LEAD);
  }

  #due(picture) {
    return this.#pace.due(picture.timestamp / 1e6);
  }

  #decoded(picture) {
    if (this.#held) {
      picture.close();
      return;
    }
    // A reordered picture is there when the decoder has got the one after it that makes it give it away: that one's arrival
    // counts, and what decoding took.
    const reordered = this.#configured !== null && !this.#configured.quick;
    const ready = this.#fed.arrived + performance.now() / 1000 - this.#fed.at;
    if (reordered) this.#pace.arrived(picture.timestamp / 1e6, ready);
    const at = this.#pictures.findLastIndex(({ timestamp }) => timestamp <= picture.timestamp) + 1;
    this.#pictures.splice(at, 0, picture);
    this.#feed();
  }

  #show() {
    const now = performance.now() / 1000;
    const due = this.#pictures.findLastIndex((picture) => this.#due(picture) <= now + SLACK);
    if (due < 0) return;
    const pictures = this.#pictures.splice(0, due + 1);
    const newest = pictures.pop();
    pictures.forEach((picture) => picture.close());
    this.dropped += pictures.length;
    const late = now - this.#due(newest);
    // Who comes late gets all since the last keyframe at once, and wants to see the end of it.
    if (late > OLD && now - this.#drawn < OLD) {
      newest.close();
      return;
    }
    this.#drawn = now;
    this.#draw(newest);
  }

  #draw(picture) {
    const [width, height] = [picture.displayWidth, picture.displayHeight];
    if (this.#canvas.width !== width || this.#canvas.height !== height) {
      this.#canvas.width = width;
      this.#canvas.height = height;
    }
    this.#context.drawImage(picture, 0, 0, width, height);
    const mediaTime = picture.timestamp / 1e6;
    picture.close();
    this.frames++;
    this.#last = mediaTime;
    this.#shown({ mediaTime, width, height });
  }
}
