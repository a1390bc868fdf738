/**
 * <valkka-video src="/api/ws?src=NAME">: plays a stream of fmp4wssink (or of go2rtc) at its live edge.
 *
 *   <script type="module" src="/valkka-video.js"></script>
 *   <valkka-video src="/api/ws?src=lobby" controls><canvas></canvas></valkka-video>
 *
 * One module without dependencies. Children lie over the picture: a canvas for boxes, for instance.
 *
 * Attributes
 *   src        address of the WebSocket
 *   mode       "auto" (default): WebCodecs where the browser has it (https, localhost), else Media Source Extensions (MSE);
 *              "webcodecs": the same, and never sound; "mse": never WebCodecs. Sound is MSE's: in "auto", to unmute a stream
 *              that has some changes over to MSE, and to mute it changes back
 *   controls   buttons appear when the mouse or the keyboard is there
 *   figures    state, delay and drops lie over the picture
 *   state      set by the element: see the property
 *
 * Properties and methods
 *   state                      "idle", "connecting", "playing", "stalled", "paused", "ended" or "error"
 *   stats                      figures, see below
 *   muted                      true at first: browsers let only silent videos start by themselves
 *   pause(), play(), paused    what is paused costs the server nothing; play() goes on at the live edge
 *   delay                      seconds by which pictures are late at least, 0 at first: as long as it takes until what is to be
 *                              drawn over them is there
 *   picture                    the <video> or <canvas> that shows the pictures now; for drawImage()
 *   video                      the <video>; in mode "mse" it is the picture
 *   channelTime(mediaTime)     channel time in nanoseconds, null when the server does not tell; without argument of the picture shown
 *   utc(mediaTime)             UTC in seconds since 1970, in the same way
 *   mediaTime(channelTime)     the other way round
 *
 * Events (none bubbles)
 *   frame      a picture is on the screen: {mediaTime, channelTime, utc, width, height}
 *   playing, stalled           pictures move; they stand still although they should not
 *   reinit     the stream has changed: {mime, width, height}
 *   state      {state, reason}
 *   message    any JSON message of the server
 *
 * Keys: Space or K pauses, M is sound, I figures, F full screen.
 */

import { readFragment, readInit } from "./boxes.js";
import { Clock } from "./clock.js";
import { Connection } from "./connection.js";
import { Controls } from "./controls.js";
import { MSE_RESERVE, MSE_SOUND_RESERVE, MsePlayback, mseAvailable, msePlays } from "./mse.js";
import { Pace } from "./pace.js";
import { CodecsPlayback, codecsAvailable } from "./webcodecs.js";

/** What to ask a browser about; the server compares families only. */
const CODECS = [
  "avc1.640029", "avc1.64002A", "avc1.640033", "hvc1.1.6.L153.B0", "av01.0.08M.08", "vp09.00.40.08",
  "mp4a.40.2", "mp4a.40.5", "opus", "flac",
];
/** Milliseconds between looks at everything, and of a pause between them that only sleep explains. */
const [TICK, SLEPT] = [250, 10_000];
/** Seconds for which pictures can be kept back. */
const MOST_DELAY = 2.5;
/** Seconds between reports to the server. */
const REPORT = 2;
/** A picture that stands still for longer than so many seconds, and so many pictures, has stalled. */
const [STALL, STALL_FRAMES] = [1, 4];
/** Looks at which pictures had come, and nothing was played, after which the browser counts as stuck: 6 s. */
const STUCK = 24;

/** Codecs that this browser plays. */
export function playableCodecs() {
  return CODECS.filter((codec) => msePlays(`video/mp4; codecs="${codec}"`)).join(",");
}

export class ValkkaVideo extends HTMLElement {
  static observedAttributes = ["src", "mode", "controls", "figures"];

  /** The video element, which shows the stream in mode "mse". */
  video;

  #controls;
  #canvas;
  #connection = null;
  #playback = null;
  #pace = new Pace();
  #clock = new Clock();
  /** Of the present init segment: {mime, tracks, main, audible}. */
  #stream = null;
  #mime = null;
  #extended = false;
  #state = "idle";
  #reason = "";
  #held = false;
  #paused = false;
  #ended = false;
  #muted = true;
  /** What WebCodecs could not play here. */
  #refused = new Set();
  #shown = { mediaTime: null, at: 0, latency: null, width: 0, height: 0 };
  #frameDuration = 0.04;
  #ticker = null;
  #ticked = 0;
  #reported = 0;
  /** Fragments of the main track. */
  #came = 0;
  /** {came, played} at the last look, and how often nothing was played since. */
  #looked = { came: 0, played: 0, stuck: 0 };
  #counters = { bytes: 0, fragments: 0, droppedByServer: 0, reconnects: 0, frames: 0 };

  constructor() {
    super();
    this.#controls = new Controls(this.attachShadow({ mode: "open" }), (what) => this.#act(what));
    this.video = this.#controls.part("video");
    this.#canvas = this.#controls.part("canvas");
    this.video.muted = true;
    this.video.addEventListener("error", () => {
      if (this.#playback?.kind === "mse") this.#fail(this.video.error?.message || "the stream cannot be decoded");
    });
    // Browsers let only silent videos start by themselves.
    this.video.addEventListener("volumechange", () => (this.muted = this.video.muted));
    this.#watchVideo();
  }

  connectedCallback() {
    if (!this.hasAttribute("tabindex")) this.tabIndex = 0;
    if (!this.hasAttribute("role")) this.setAttribute("role", "group");
    if (!this.hasAttribute("aria-label")) this.setAttribute("aria-label", "live video");
    this.#canvas.setAttribute("aria-label", this.getAttribute("aria-label"));
    this.video.setAttribute("aria-label", this.getAttribute("aria-label"));
    this.#ticked = performance.now();
    this.#ticker ??= setInterval(() => this.#tick(), TICK);
    document.addEventListener("visibilitychange", this.#hold);
    document.addEventListener("resume", this.#hold);
    this.#connect();
  }

  disconnectedCallback() {
    clearInterval(this.#ticker);
    this.#ticker = null;
    document.removeEventListener("visibilitychange", this.#hold);
    document.removeEventListener("resume", this.#hold);
    this.#disconnect();
    this.#enter("idle");
  }

  attributeChangedCallback(attribute, before, after) {
    if (!this.isConnected || before === after) return;
    if (attribute === "src" || attribute === "mode") this.#connect();
    else this.#showControls();
  }

  get state() {
    return this.#state;
  }

  get picture() {
    return this.#playback?.kind === "webcodecs" ? this.#canvas : this.video;
  }

  get paused() {
    return this.#paused;
  }

  pause() {
    this.#paused = true;
    this.#hold();
  }

  play() {
    this.#paused = false;
    this.#hold();
  }

  get delay() {
    return this.#pace.wait;
  }

  set delay(seconds) {
    this.#pace.wait = Math.min(Math.max(Number(seconds) || 0, 0), MOST_DELAY);
  }

  get muted() {
    return this.#muted;
  }

  set muted(muted) {
    if (this.#muted === Boolean(muted)) return;
    this.#muted = this.video.muted = Boolean(muted);
    this.#hold();
    if (this.#stream === null || this.#playback === null) return;
    if (this.#kindFor(this.#stream) !== this.#playback.kind) this.#connect();
    else this.#pace.least = this.#reserveFor(this.#playback.kind);
  }

  channelTime(mediaTime = this.#shown.mediaTime) {
    return mediaTime === null ? null : this.#clock.channelTime(mediaTime);
  }

  utc(mediaTime = this.#shown.mediaTime) {
    return mediaTime === null ? null : this.#clock.utc(mediaTime);
  }

  mediaTime(channelTime) {
    return this.#clock.mediaTime(channelTime);
  }

  /** All about it. Times are in seconds. */
  get stats() {
    return {
      ...this.#counters,
      reconnects: this.#counters.reconnects + (this.#connection?.reconnects ?? 0),
      state: this.#state,
      reason: this.#reason,
      /** "mse" or "webcodecs". */
      mode: this.#playback?.kind ?? null,
      mime: this.#stream?.mime ?? null,
      width: this.#shown.width,
      height: this.#shown.height,
      /** From taking the picture to showing it; clocks are compared with every report. */
      latency: this.#shown.latency,
      /** Media that is here and was not shown yet. */
      ahead: this.#playback?.ahead ?? 0,
      /** How unevenly media comes, and the delay that is kept for it. */
      jitter: this.#pace.jitter,
      target: this.#pace.delay,
      rate: this.#playback?.kind === "mse" ? this.video.playbackRate : 1,
      stalls: this.#pace.stalls,
      droppedByBrowser: this.#playback?.dropped ?? 0,
    };
  }

  #connect() {
    this.#disconnect();
    const src = this.getAttribute("src");
    if (!src) return;
    if (!mseAvailable() && !codecsAvailable()) {
      this.#enter("error", "this browser has neither Media Source Extensions nor WebCodecs");
      return;
    }
    this.#enter("connecting");
    try {
      const url = new URL(src, document.baseURI);
      url.protocol = url.protocol.replace("http", "ws");
      this.#connection = new Connection(url, {
        hello: () => ({ type: "mse", value: playableCodecs(), ext: 1 }),
        heard: (message) => (message instanceof ArrayBuffer ? this.#media(message) : this.#message(message)),
        lost: (reason) => this.#lost(reason),
      });
    } catch (error) {
      // The address is none, or one that this page may not open.
      this.#enter("error", error.message);
      return;
    }
    this.#held = false;
    this.#hold();
  }

  #disconnect() {
    if (this.#connection === null) return;
    this.#counters.reconnects += this.#connection.reconnects;
    this.#connection.close();
    this.#connection = null;
    this.#lost("");
  }

  /** Keeps the picture that a <video> shows, which will be empty for a moment when it gets another source. */
  #freeze() {
    if (this.#playback?.kind !== "mse" || this.video.videoWidth === 0) return;
    [this.#canvas.width, this.#canvas.height] = [this.video.videoWidth, this.video.videoHeight];
    this.#canvas.getContext("2d", { alpha: false }).drawImage(this.video, 0, 0);
    this.#canvas.hidden = false;
  }

  /** The connection is gone; the last picture stays. */
  #lost(reason) {
    this.#freeze();
    this.#playback?.close();
    this.#playback = this.#stream = this.#mime = null;
    this.#extended = false;
    if (this.#connection !== null && !["ended", "error", "paused"].includes(this.#state)) this.#enter("connecting", reason);
  }

  #fail(reason) {
    const codec = this.#playback?.kind === "webcodecs" ? this.#stream?.mime : undefined;
    if (codec !== undefined && this.getAttribute("mode") !== "webcodecs" && mseAvailable()) {
      this.#refused.add(codec);
      this.#connection?.again("", true);
      return;
    }
    this.#enter("error", reason);
    this.#connection?.again(reason);
  }

  #message(message) {
    switch (message.type) {
      case "mse":
      case "reinit":
        this.#mime = message.value;
        break;
      case "init":
      case "clock":
        this.#extended = true;
        this.#clock.tell(message);
        break;
      case "drop":
        this.#counters.droppedByServer += message.frames ?? 0;
        break;
      case "stats":
        if (typeof message.echo === "number") this.#clock.compare(message.utc, performance.now() / 1000 - message.echo);
        break;
      case "eos":
        this.#ended = true;
        this.#playback?.end();
        this.#enter("ended");
        break;
      case "error":
        this.#enter("error", String(message.value ?? ""));
        break;
    }
    this.dispatchEvent(new CustomEvent("message", { detail: message }));
  }

  #media(data) {
    this.#counters.bytes += data.byteLength;
    try {
      const tracks = readInit(data);
      if (tracks !== null) this.#begin(data, tracks);
      else if (this.#playback !== null) this.#fragment(data);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      this.#fail(`the stream cannot be read: ${error.message}`);
    }
  }

  /** An init segment. */
  #begin(data, tracks) {
    const all = [...tracks.values()];
    const main = all.find(({ kind }) => kind === "video") ?? all[0];
    if (main === undefined || this.#mime === null) return;
    this.#stream = { mime: this.#mime, tracks, main, audible: all.some(({ kind }) => kind === "audio") };
    const kind = this.#kindFor(this.#stream);
    const again = this.#playback !== null;
    const goesOn = this.#playback?.kind === kind && this.#playback.takes(this.#stream) && !this.#ended;
    if (goesOn) this.#clock.streamChanged();
    else this.#start(kind);
    this.#playback.init(this.#stream, data);
    this.#showControls();
    const { width, height } = main;
    if (again) this.dispatchEvent(new CustomEvent("reinit", { detail: { mime: this.#mime, width, height } }));
  }

  #kindFor({ mime, main, audible }) {
    const mode = this.getAttribute("mode");
    const silent = mode === "webcodecs" || this.#muted || !audible;
    const able = codecsAvailable() && main.kind === "video" && !this.#refused.has(mime);
    return mode !== "mse" && silent && able ? "webcodecs" : "mse";
  }

  #reserveFor(kind) {
    if (kind === "webcodecs") return 0;
    return this.#stream.audible && !this.#muted ? MSE_SOUND_RESERVE : MSE_RESERVE;
  }

  #start(kind) {
    this.#freeze();
    this.#playback?.close();
    this.#ended = false;
    this.#clock.restart();
    this.#pace.restart();
    this.#pace.least = this.#reserveFor(kind);
    const rest = { pace: this.#pace, clock: this.#clock, fail: (reason) => this.#fail(reason), shown: (shown) => this.#show(shown),
      wantKeyframe: () => this.#connection?.say({ type: "idr" }) };
    this.video.hidden = kind !== "mse";
    this.#playback = kind === "mse" ? new MsePlayback(this.video, rest) : new CodecsPlayback(this.#canvas, rest);
  }

  #fragment(data) {
    this.#counters.fragments++;
    if (this.#held) return;
    const now = performance.now() / 1000;
    const samples = readFragment(data, this.#stream.tracks);
    const main = samples.filter(({ track }) => track === this.#stream.main);
    if (main.length > 0) {
      this.#came++;
      if (this.#clock.follow(main)) this.#pace.restart();
      this.#frameDuration = main[0].duration || this.#frameDuration;
    }
    this.#playback.fragment(data, samples, main, now);
  }

  /** With each picture of the <video>. */
  #watchVideo() {
    const video = this.video;
    const shown = (mediaTime, at) => {
      if (this.#playback?.kind !== "mse") return;
      if (at !== undefined) this.#playback.presented(mediaTime, at / 1000);
      this.#show({ mediaTime, width: video.videoWidth, height: video.videoHeight });
    };
    const tells = video.requestVideoFrameCallback !== undefined;
    // Sound alone has no pictures, and some browsers do not tell of them.
    video.addEventListener("timeupdate", () => {
      if (!tells || this.#stream?.main.kind === "audio") shown(video.currentTime);
    });
    if (!tells) return;
    const next = (_now, { mediaTime, presentationTime }) => {
      video.requestVideoFrameCallback(next);
      shown(mediaTime, presentationTime);
    };
    video.requestVideoFrameCallback(next);
  }

  #show({ mediaTime, width, height }) {
    const utc = this.utc(mediaTime);
    this.#shown = { mediaTime, at: performance.now(), latency: utc === null ? null : this.#clock.now - utc, width, height };
    this.#counters.frames++;
    this.#canvas.hidden = this.#playback?.kind === "mse";
    if (this.#state !== "playing" && !this.#ended && !this.#held) {
      this.#connection?.proven();
      this.#enter("playing");
    }
    this.dispatchEvent(new CustomEvent("frame", { detail: { mediaTime, channelTime: this.channelTime(mediaTime), utc, width, height } }));
  }

  #tick() {
    const now = performance.now();
    if (now - this.#ticked > SLEPT) this.#connection?.slept();
    this.#ticked = now;
    this.#connection?.check();
    if (!this.#held) this.#playback?.keepUp();
    this.#unstick();
    const still = (now - this.#shown.at) / 1000;
    if (this.#state === "playing" && still > Math.max(STALL, STALL_FRAMES * this.#frameDuration)) this.#enter("stalled", "nothing new comes");
    if (this.#extended && this.#state === "playing" && now - this.#reported > REPORT * 1000) {
      this.#reported = now;
      const { ahead, latency, droppedByBrowser } = this.stats;
      this.#connection.say({ type: "report", buffered: ahead, latency, dropped: droppedByBrowser, time: now / 1000 });
    }
    if (this.hasAttribute("figures")) this.#controls.figures(this.stats);
  }

  /** Browsers can stop without a word, for instance where one of two tracks ends: then another connection helps. */
  #unstick() {
    // Not pictures: one may be shown again and again.
    const [last, came, played] = [this.#looked, this.#came, this.#shown.mediaTime + this.video.currentTime];
    const waits = this.#held || this.#ended || (this.#playback?.kind === "mse" && this.video.paused);
    const stuck = played !== last.played ? 0 : last.stuck + Number(!waits && came > last.came);
    this.#looked = { came, played, stuck: stuck % STUCK };
    if (stuck === STUCK) this.#connection?.again("nothing is played of what comes");
  }

  /** Whether anybody looks or listens has changed: for whom nobody does, nothing needs to be sent. */
  #hold = () => {
    const unseen = document.hidden && document.pictureInPictureElement !== this.video;
    const unheard = this.#muted || !this.#stream?.audible || this.#playback?.kind === "webcodecs";
    const held = this.#paused || (unseen && unheard);
    this.#showControls();
    if (held === this.#held) return;
    this.#held = held;
    if (held) {
      this.#connection?.pause();
      this.#playback?.hold();
      if (this.#state !== "idle") this.#enter("paused");
    } else {
      this.#pace.restart();
      this.#playback?.release();
      this.#connection?.resume();
      if (this.#state !== "idle") this.#enter("connecting");
    }
  };

  #act(what) {
    if (what === "pause") this.#paused ? this.play() : this.pause();
    else if (what === "sound") this.muted = !this.muted;
    else if (what === "figures") this.toggleAttribute("figures");
    else if (document.fullscreenElement === this) document.exitFullscreen();
    else this.requestFullscreen?.().catch(() => {});
    this.#showControls();
  }

  #enter(state, reason = "") {
    if (this.#state === state && this.#reason === reason) return;
    this.#state = state;
    this.#reason = reason;
    this.setAttribute("state", state);
    this.#controls.say(state, reason);
    if (state === "playing" || state === "stalled") this.dispatchEvent(new CustomEvent(state));
    this.dispatchEvent(new CustomEvent("state", { detail: { state, reason } }));
  }

  #showControls() {
    const figures = this.hasAttribute("figures");
    const pressed = { paused: this.#paused, muted: this.#muted, audible: Boolean(this.#stream?.audible), figures };
    this.#controls.buttons(this.hasAttribute("controls"), pressed);
    this.#controls.figures(figures ? this.stats : null);
  }
}

if (!customElements.get("valkka-video")) customElements.define("valkka-video", ValkkaVideo);
