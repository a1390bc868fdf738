/** One camera on the page: its video while it is seen, what lies over it, its state. */

import { icon, make, milliseconds, say } from "/dom.js";
import { History } from "/chart.js";
import { begin, drawBox, drawZone } from "/overlay.js";
import { Timeline } from "/timeline.js";

const WORDS = {
  connecting: "Connecting",
  stalled: "The picture stands still",
  lost: "No connection to the camera",
  stopped: "Stopped",
};

/** Milliseconds for which a camera must be in the window until it plays: whoever scrolls past it wakes nothing. */
const ARRIVE = 250;
/** Milliseconds for which a camera that has left the window goes on. */
const LINGER = 4000;

export class Tile {
  element;
  name;
  /** The newest status of the camera. */
  camera = null;
  history = new History();
  zones = [];
  #strip;
  #player = null;
  #canvas = null;
  #size = { width: 0, height: 0 };
  #timeline = new Timeline();
  #counted = null;
  #objects = [];
  /** Waits until it has been in the window, or out of it, for long enough. */
  #turning = null;

  constructor(name, strip) {
    this.name = name;
    this.#strip = strip;
    this.element = document.importNode(document.querySelector("#camera").content, true).firstElementChild;
    this.element.dataset.camera = name;
    say(this.part("h3"), name);
    this.part(".open").href = `#camera=${encodeURIComponent(name)}`;
    this.part(".full").append(icon("full"));
    this.part(".full").setAttribute("aria-label", `Full screen: ${name}`);
    this.part(".full").addEventListener("click", () => {
      if (document.fullscreenElement) document.exitFullscreen();
      else this.part(".screen").requestFullscreen().catch(() => {});
    });
  }

  part(selector) {
    return this.element.querySelector(selector);
  }

  /** The element that plays it; null while nobody sees it. */
  get player() {
    return this.#player;
  }

  get plays() {
    return this.#player?.state === "playing";
  }

  /** To whoever walks through the cameras by keyboard. */
  focus() {
    this.part(".open").focus();
  }

  /** It came into the window, or left it. */
  inWindow(inside) {
    clearTimeout(this.#turning);
    // Whoever looks at another camera for a moment finds it as it was.
    this.#turning = setTimeout(() => this.seen(inside), inside ? ARRIVE : LINGER);
  }

  /** What nobody sees is neither sent nor decoded. */
  seen(seen) {
    clearTimeout(this.#turning);
    if (seen === (this.#player !== null)) return;
    if (!seen) {
      this.#player.remove();
      this.#player = this.#canvas = this.#counted = null;
      return;
    }
    this.#canvas = make("canvas", { "aria-hidden": "true" });
    // The link over it says all that can be said; dozens of players that announce themselves would be noise.
    const player = make("valkka-video", { "aria-hidden": "true" }, this.#canvas);
    player.setAttribute("tabindex", "-1");
    player.setAttribute("src", `/api/ws?src=${encodeURIComponent(this.name)}`);
    player.addEventListener("frame", ({ detail }) => this.#frame(detail));
    this.part(".screen").prepend(player);
    this.#player = player;
  }

  /** What the orchestrator knows of the camera, once a second and at each change. */
  show(camera) {
    this.camera = camera;
    const live = camera.state === "live";
    this.element.dataset.state = camera.state;
    this.element.dataset.objects = live ? (camera.objects ?? 0) : 0;
    say(this.part(".badge"), camera.state);
    this.part(".open").setAttribute("aria-label", `${this.name}, ${camera.state}. Show it large`);
    this.part(".caption").title = camera.source ?? "";
    this.part(".offline").hidden = live;
    say(this.part(".offline strong"), WORDS[camera.state] ?? camera.state);
    say(this.part(".offline span"), camera.reason ?? "");
    say(this.part(".fps"), `${camera.fps.toFixed(0)} fps`);
    say(this.part(".age"), camera.age_ms === null ? "" : milliseconds(camera.age_ms));
    const objects = camera.objects ?? 0;
    say(this.part(".objects"), objects === 0 ? "" : objects === 1 ? "1 object" : `${objects} objects`);
    this.#sample();
    if (!live) {
      this.#timeline.clear();
      this.#draw([]);
    }
  }

  /** Once a second at most: figures for the chart. */
  #sample() {
    const now = Date.now() / 1000;
    if (!this.history.due(now)) return;
    const stats = this.#player?.state === "playing" || this.#player?.state === "stalled" ? this.#player.stats : null;
    const dropped = stats === null ? null : stats.droppedByServer + stats.droppedByBrowser;
    const drops = dropped === null || this.#counted === null ? null : Math.max(0, dropped - this.#counted);
    this.#counted = dropped;
    const latency = typeof stats?.latency === "number" ? stats.latency * 1000 : null;
    this.history.add(now, { fps: this.camera.state === "live" ? this.camera.fps : 0, latency, drops });
    if (this.#player !== null) this.#player.delay = this.#timeline.lag(performance.now() / 1000);
  }

  /** What the analyser found in one frame, which is usually not on the screen yet. */
  detected(found) {
    this.#timeline.add(found, this.#newest(), performance.now() / 1000);
    this.#strip.heard(found);
  }

  /** Channel time of the newest picture that has come. */
  #newest() {
    const player = this.#player;
    if (!this.plays) return null;
    const shown = player.channelTime();
    return shown === null ? null : shown + player.stats.ahead * 1e9;
  }

  /** A picture has come to the screen: now its boxes, no others. */
  #frame({ channelTime, width, height }) {
    this.#size = { width, height };
    const objects = this.#timeline.at(channelTime);
    this.#draw(objects);
    if (this.#player !== null) this.#strip.show(this.name, objects, this.#player.picture, this.#size);
  }

  /** The same again: something else that lies over the picture has changed. */
  redraw() {
    this.#draw(this.#objects);
  }

  #draw(objects) {
    this.#objects = objects;
    this.element.dataset.boxes = objects.length;
    if (this.#canvas === null) return;
    const drawing = begin(this.#canvas, this.#size);
    for (const zone of this.zones) drawZone(drawing, zone);
    for (const object of objects) drawBox(drawing, object);
  }

  /** The size of the picture, for whoever lays something over it. */
  get size() {
    return this.#size;
  }
}
