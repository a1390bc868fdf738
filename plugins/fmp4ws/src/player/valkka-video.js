/**
 * <valkka-video src="/api/ws?src=NAME">: plays a stream of fmp4wssink (or of go2rtc) close to its live edge.
 *
 * One file without dependencies. It negotiates codecs, appends with a bounded queue, keeps to the live edge (by playback
 * rate; by a jump only when far behind), trims what was played, and connects anew with growing pauses.
 *
 *   <script type="module" src="/valkka-video.js"></script>
 *   <valkka-video src="/api/ws?src=lobby"><canvas></canvas></valkka-video>
 *
 * Children lie over the picture: a canvas for boxes, for instance. What is needed to draw them on the right frame:
 *
 *   element.video                        the <video>; its requestVideoFrameCallback tells the mediaTime of each shown frame
 *   element.channelTime(mediaTime)       channel time of it, in nanoseconds; null when the server does not tell
 *   element.utc(mediaTime)               UTC of it, in seconds; null when the server does not tell
 *   element.mediaTime(channelTime)       the other way round
 *
 * Events: "state" (detail {state, reason}; connecting, playing, ended, error) and "message" (detail: any JSON message of
 * the server). `element.stats` has latency, buffer, rate, drops and bytes.
 */

/** What to ask a browser about; the server compares families only. */
const CODECS = [
  "avc1.640029", "avc1.64002A", "avc1.640033", "hvc1.1.6.L153.B0", "av01.0.08M.08", "vp09.00.40.08",
  "mp4a.40.2", "mp4a.40.5", "opus", "flac",
];

/** Bytes that may wait to be appended: more means that this browser does not keep up. */
const MAX_QUEUE_BYTES = 16 << 20;
/** Seconds behind the live edge that are not worth playing. */
const JUMP = 1.2;
/** Seconds of what was played that are kept, and when to trim. Longer than any sensible distance of keyframes: removing
 *  up to the middle of a group of pictures removes all of it. */
const KEEP = 30;
const TRIM = 60;
/** Seconds between attempts to connect. */
const BACKOFF = [0.5, 1, 2, 4, 8];
/** Seconds without a message after which a connection counts as dead (a stream without motion still has frames). */
const SILENCE = 15;

const Source = globalThis.ManagedMediaSource ?? globalThis.MediaSource;

/** Codecs that this browser plays. */
export function playableCodecs() {
  return CODECS.filter((codec) => Source?.isTypeSupported(`video/mp4; codecs="${codec}"`)).join(",");
}

/** The smallest buffer that does not stall for the jitter that is seen: in seconds. */
class Target {
  #frame = 0.04;
  #jitter = 0;
  #stalls = 0;
  #last = null;

  /** Another connection: what lay between the two says nothing about either. */
  restarted() {
    this.#last = null;
  }

  /** A fragment of `duration` seconds of media was appended. */
  arrived(duration) {
    const now = performance.now() / 1000;
    if (this.#last !== null && duration > 0 && duration < 1) {
      const late = now - this.#last - duration;
      this.#frame += (duration - this.#frame) * 0.05;
      // Up at once, down slowly: the next burst is like the last one.
      this.#jitter = Math.max(late, this.#jitter * 0.995, 0);
      this.#stalls *= 0.999;
    }
    this.#last = now;
  }

  /** It was not enough. */
  stalled() {
    this.#stalls = Math.min(this.#stalls + 0.04, 1);
  }

  get seconds() {
    return Math.min(1.5 * this.#frame + Math.min(this.#jitter, 1) + this.#stalls, 2);
  }
}

/** One MediaSource on a video element, fed in order. */
class Playback {
  #video;
  #source = new Source();
  #buffer = null;
  #queue = [];
  #queued = 0;
  #ending = false;
  #started = false;
  #end = null;
  #fail;
  target;

  constructor(video, mime, target, fail) {
    this.#video = video;
    this.#fail = fail;
    this.target = target;
    target.restarted();
    this.#source.addEventListener("sourceopen", () => this.#open(mime), { once: true });
    video.disableRemotePlayback = true; // What ManagedMediaSource demands.
    video.src = URL.createObjectURL(this.#source);
  }

  #open(mime) {
    URL.revokeObjectURL(this.#video.src);
    try {
      this.#buffer = this.#source.addSourceBuffer(mime);
    } catch (error) {
      this.#fail(`this browser does not play ${mime}: ${error.message}`);
      return;
    }
    this.#buffer.addEventListener("updateend", () => this.#appended());
    this.#buffer.addEventListener("error", () => this.#fail("the stream cannot be decoded"));
    this.#pump();
  }

  append(data) {
    this.#queue.push(data);
    this.#queued += data.byteLength;
    if (this.#queued > MAX_QUEUE_BYTES) {
      this.#fail("this browser does not keep up with the stream");
      return;
    }
    this.#pump();
  }

  /** Nothing more will come. */
  end() {
    this.#ending = true;
    this.#pump();
  }

  #pump() {
    if (this.#buffer === null || this.#buffer.updating || this.#source.readyState !== "open") return;
    if (this.#trim(TRIM, KEEP)) return;
    if (this.#queue.length === 0) {
      if (this.#ending) this.#source.endOfStream();
      return;
    }
    const data = this.#queue.length === 1 ? this.#queue[0] : joined(this.#queue, this.#queued);
    try {
      this.#buffer.appendBuffer(data);
      this.#queue = [];
      this.#queued = 0;
    } catch (error) {
      if (error.name !== "QuotaExceededError" || !this.#trim(5, 2)) this.#fail(error.message);
    }
  }

  #appended() {
    const ranges = this.#buffer.buffered;
    if (ranges.length > 0) {
      const end = ranges.end(ranges.length - 1);
      if (this.#end !== null && end > this.#end) this.target.arrived(end - this.#end);
      this.#end = end;
    }
    this.keepUp();
    this.#pump();
  }

  /** Removes what was played more than `after` seconds ago, up to `keep` seconds ago. Whether there was any. */
  #trim(after, keep) {
    const ranges = this.#buffer.buffered;
    const now = this.#video.currentTime;
    if (ranges.length === 0 || now - ranges.start(0) < after) return false;
    this.#buffer.remove(ranges.start(0), now - keep);
    return true;
  }

  /** Seconds of media ahead of what is shown, holes not counted. */
  get ahead() {
    const ranges = this.#video.buffered;
    return ranges.length > 0 ? ranges.end(ranges.length - 1) - this.#video.currentTime : 0;
  }

  /** Stays at the live edge. */
  keepUp() {
    const video = this.#video;
    const ranges = video.buffered;
    if (ranges.length === 0) return;
    const last = ranges.length - 1;
    const [start, end] = [ranges.start(last), ranges.end(last)];
    const target = this.target.seconds;
    const behind = end - video.currentTime - target;
    // Before the newest range there is a hole, which no playback rate crosses.
    const inHole = video.currentTime < start && !(last > 0 && video.currentTime < ranges.end(last - 1) - 0.05);
    if (!this.#started || behind > JUMP || inHole || video.currentTime > end) {
      if (this.#ending && this.#started) return;
      this.#started = true;
      video.currentTime = Math.max(start, end - target);
      video.playbackRate = 1;
    } else if (!this.#ending) {
      // In steps: each change costs a little.
      const wanted = behind > 0.03 ? 1 + Math.min(behind * 0.6, 0.5) : behind < -0.05 ? 0.95 : 1;
      const rate = Math.round(wanted * 20) / 20;
      if (video.playbackRate !== rate) video.playbackRate = rate;
    }
    if (video.paused && !video.ended) this.#play();
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

function joined(parts, length) {
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(new Uint8Array(part), at);
    at += part.byteLength;
  }
  return whole;
}

const STYLE = `
  :host { display: block; position: relative; overflow: hidden; background: #000; }
  video { display: block; width: 100%; height: 100%; object-fit: contain; }
  ::slotted(*) { position: absolute; inset: 0; width: 100%; height: 100%; pointer-events: none; }
`;

export class ValkkaVideo extends HTMLElement {
  static observedAttributes = ["src"];

  /** The video element that shows the stream. */
  video;

  #socket = null;
  #playback = null;
  #target = new Target();
  #clock = null;
  #state = "idle";
  #attempt = 0;
  #retry = null;
  #ticker = null;
  #heard = 0;
  #counters = { bytes: 0, fragments: 0, droppedByServer: 0, reconnects: 0 };

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open" });
    root.innerHTML = `<style>${STYLE}</style><video muted playsinline autoplay part="video"></video><slot></slot>`;
    this.video = root.querySelector("video");
    this.video.muted = true;
    this.video.setAttribute("aria-label", this.getAttribute("aria-label") ?? "live video");
    this.video.addEventListener("waiting", () => {
      if (this.#state === "playing") this.#target.stalled();
    });
    this.video.addEventListener("playing", () => {
      this.#attempt = 0;
      this.#enter("playing");
    });
    this.video.addEventListener("error", () => {
      if (this.video.error) this.#fail(this.video.error.message || "the stream cannot be decoded");
    });
  }

  connectedCallback() {
    this.#ticker ??= setInterval(() => this.#tick(), 200);
    document.addEventListener("visibilitychange", this.#shown);
    this.#connect();
  }

  disconnectedCallback() {
    clearInterval(this.#ticker);
    this.#ticker = null;
    document.removeEventListener("visibilitychange", this.#shown);
    this.#disconnect();
    this.#enter("idle");
  }

  attributeChangedCallback(_name, before, after) {
    if (this.isConnected && before !== after) {
      this.#attempt = 0;
      this.#connect();
    }
  }

  /** idle, connecting, playing, ended or error. */
  get state() {
    return this.#state;
  }

  /** Channel time (ns on the server's CLOCK_MONOTONIC) of a media time (s). */
  channelTime(mediaTime = this.video.currentTime) {
    return this.#clock === null ? null : this.#clock.pts0 + mediaTime * 1e9;
  }

  /** UTC (s since 1970) of a media time (s). */
  utc(mediaTime = this.video.currentTime) {
    return this.#clock === null ? null : this.#clock.epoch + mediaTime;
  }

  /** Media time (s) of a channel time (ns). */
  mediaTime(channelTime) {
    return this.#clock === null ? null : (channelTime - this.#clock.pts0) / 1e9;
  }

  get stats() {
    const quality = this.video.getVideoPlaybackQuality?.();
    const utc = this.utc();
    return {
      ...this.#counters,
      state: this.#state,
      /** Seconds from taking the picture to showing it, if server and browser agree about UTC. */
      latency: utc === null ? null : Date.now() / 1000 - utc,
      ahead: this.#playback?.ahead ?? 0,
      target: this.#target.seconds,
      rate: this.video.playbackRate,
      frames: quality?.totalVideoFrames ?? 0,
      droppedByBrowser: quality?.droppedVideoFrames ?? 0,
    };
  }

  #connect() {
    this.#disconnect();
    const src = this.getAttribute("src");
    if (!src) return;
    if (Source === undefined) {
      this.#enter("error", "this browser has no Media Source Extensions");
      return;
    }
    this.#enter("connecting");
    const url = new URL(src, document.baseURI);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = new WebSocket(url);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    this.#heard = performance.now();
    socket.onopen = () => socket.send(JSON.stringify({ type: "mse", value: playableCodecs(), ext: 1 }));
    socket.onmessage = (event) => {
      this.#heard = performance.now();
      if (typeof event.data === "string") this.#message(event.data);
      else this.#media(event.data);
    };
    socket.onclose = () => {
      if (this.#socket === socket) this.#later(this.#state === "error" ? undefined : "the connection was closed");
    };
  }

  #disconnect() {
    clearTimeout(this.#retry);
    this.#retry = null;
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
    this.#playback = null;
  }

  /** Tries again after a pause; the last picture stays. */
  #later(reason) {
    this.#disconnect();
    if (this.#state !== "ended" && reason !== undefined) this.#enter("connecting", reason);
    const pause = BACKOFF[Math.min(this.#attempt++, BACKOFF.length - 1)];
    this.#counters.reconnects++;
    // A little chance, so that a hundred pages do not come back in the same moment.
    this.#retry = setTimeout(() => this.#connect(), pause * (0.75 + Math.random() / 2) * 1000);
  }

  #fail(reason) {
    this.#enter("error", reason);
    this.#later();
  }

  #message(text) {
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return;
    }
    switch (message.type) {
      case "mse":
      case "reinit":
        this.#clock = null;
        this.#playback = new Playback(this.video, message.value, this.#target, (reason) => this.#fail(reason));
        break;
      case "init":
      case "clock":
        this.#clock = typeof message.pts0 === "number" ? message : null;
        break;
      case "drop":
        this.#counters.droppedByServer += message.frames;
        break;
      case "eos":
        this.#playback?.end();
        this.#enter("ended");
        break;
      case "error":
        this.#enter("error", message.value);
        break;
    }
    this.dispatchEvent(new CustomEvent("message", { detail: message }));
  }

  #media(data) {
    this.#counters.bytes += data.byteLength;
    this.#counters.fragments++;
    this.#playback?.append(data);
  }

  #tick() {
    this.#playback?.keepUp();
    const silent = performance.now() - this.#heard > SILENCE * 1000;
    if (this.#socket !== null && silent && this.#state === "playing") this.#later("the server is silent");
  }

  /** A hidden tab is slowed down: when it is seen again, the live edge is far ahead, or the connection is gone. */
  #shown = () => {
    if (document.hidden) return;
    if (this.#retry !== null) this.#connect();
    else this.#playback?.keepUp();
  };

  #enter(state, reason = "") {
    if (this.#state === state && reason === "") return;
    this.#state = state;
    this.setAttribute("state", state);
    this.dispatchEvent(new CustomEvent("state", { detail: { state, reason } }));
  }
}

if (!customElements.get("valkka-video")) customElements.define("valkka-video", ValkkaVideo);
