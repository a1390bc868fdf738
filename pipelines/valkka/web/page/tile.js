/** One camera on the page: its video, the boxes over it, its state. */

import { Timeline } from "/timeline.js";

/** Colour of boxes, as in the style sheet. */
const MARK = getComputedStyle(document.documentElement).getPropertyValue("--mark").trim();

const WORDS = {
  connecting: "Connecting",
  stalled: "The picture stands still",
  lost: "No connection to the camera",
};

export class Tile {
  element;
  #name;
  #strip;
  #player;
  #canvas;
  #timeline = new Timeline();
  /** Of the picture, in pixels. */
  #size = { width: 0, height: 0 };

  constructor(name, strip) {
    this.#name = name;
    this.#strip = strip;
    // Imported, not cloned: only then is the video element what it is called.
    this.element = document.importNode(document.querySelector("#camera").content, true).firstElementChild;
    this.element.dataset.camera = name;
    this.#part("h3").textContent = name;
    this.#player = this.#part("valkka-video");
    this.#canvas = this.#part("canvas");
    this.#player.setAttribute("aria-label", `live video of ${name}`);
    this.#player.setAttribute("src", `/api/ws?src=${encodeURIComponent(name)}`);
    const fullScreen = () => (document.fullscreenElement ? document.exitFullscreen() : this.#part(".screen").requestFullscreen());
    this.#part("button").addEventListener("click", fullScreen);
    this.#part(".screen").addEventListener("dblclick", fullScreen);
    this.#eachFrame();
  }

  /** What the orchestrator knows of the camera. */
  show(camera) {
    const live = camera.state === "live";
    this.element.dataset.state = camera.state;
    this.element.dataset.objects = live ? camera.objects : 0;
    this.#part(".state").textContent = live ? "" : camera.state;
    this.#part(".caption").title = camera.source;
    this.#part(".offline").hidden = live;
    this.#part(".offline strong").textContent = WORDS[camera.state] ?? camera.state;
    this.#part(".offline span").textContent = camera.reason ?? "";
    this.#part(".fps").textContent = `${camera.fps.toFixed(0)} fps`;
    this.#part(".age").textContent = camera.age_ms === null ? "" : age(camera.age_ms);
    this.#part(".objects").textContent = camera.objects === 0 ? "" : camera.objects === 1 ? "1 object" : `${camera.objects} objects`;
    if (!live) {
      this.#timeline.clear();
      this.#draw([]);
    }
  }

  /** What the analyser found in one frame, which is usually not on the screen yet. */
  detected(found) {
    this.#timeline.add(found);
  }

  /** With each picture that comes to the screen: its boxes. */
  #eachFrame() {
    this.#player.addEventListener("frame", ({ detail }) => {
      this.#size = { width: detail.width, height: detail.height };
      const objects = this.#timeline.at(detail.channelTime);
      this.#draw(objects);
      this.#strip.show(this.#name, objects, { ...this.#size, source: this.#player.picture });
    });
  }

  #draw(objects) {
    const canvas = this.#canvas;
    const scale = devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
    }
    const context = canvas.getContext("2d");
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    const picture = this.#picture(width, height);
    for (const object of objects) drawBox(context, picture, object);
    this.element.dataset.boxes = objects.length;
  }

  /** Where in the tile the picture lies: it keeps its shape, so there may be bars beside it. */
  #picture(width, height) {
    const known = this.#size.width > 0;
    const factor = known ? Math.min(width / this.#size.width, height / this.#size.height) : 1;
    const [w, h] = known ? [this.#size.width * factor, this.#size.height * factor] : [width, height];
    return { x: (width - w) / 2, y: (height - h) / 2, w, h };
  }

  #part(selector) {
    return this.element.querySelector(selector);
  }
}

/** A thin frame with strong corners, and what it is. */
function drawBox(context, picture, { box: [x1, y1, x2, y2], label, score }) {
  const [x, y] = [picture.x + x1 * picture.w, picture.y + y1 * picture.h];
  const [w, h] = [(x2 - x1) * picture.w, (y2 - y1) * picture.h];
  context.lineJoin = context.lineCap = "round";
  context.strokeStyle = MARK;
  context.shadowColor = "#000c";
  context.shadowBlur = 3;
  context.globalAlpha = 0.45;
  context.lineWidth = 1;
  context.strokeRect(x, y, w, h);
  context.globalAlpha = 1;
  context.lineWidth = 2.5;
  const arm = Math.min(14, w / 3, h / 3);
  context.beginPath();
  for (const [cx, cy, dx, dy] of [[x, y, 1, 1], [x + w, y, -1, 1], [x + w, y + h, -1, -1], [x, y + h, 1, -1]]) {
    context.moveTo(cx + dx * arm, cy);
    context.lineTo(cx, cy);
    context.lineTo(cx, cy + dy * arm);
  }
  context.stroke();
  context.shadowBlur = 0;
  drawLabel(context, picture, x, y, label, score);
}

/** Above the box; in a small picture small, and without the score. */
function drawLabel(context, picture, x, y, label, score) {
  const small = picture.w < 560;
  const text = small || score === undefined || score === null ? label : `${label} ${Math.round(score * 100)}%`;
  const size = small ? 9 : 11;
  context.font = `600 ${size}px system-ui, 'DejaVu Sans', sans-serif`;
  const chip = { w: context.measureText(text).width + size - 1, h: size + 5 };
  const [left, top] = [Math.min(x, picture.x + picture.w - chip.w), Math.max(y - chip.h - 3, picture.y)];
  context.fillStyle = MARK;
  context.beginPath();
  context.roundRect(left, top, chip.w, chip.h, 4);
  context.fill();
  context.fillStyle = "#16130a";
  context.fillText(text, left + (size - 1) / 2, top + size + 1.5);
}

function age(ms) {
  return ms < 1000 ? `${ms} ms` : `${(ms / 1000).toFixed(1)} s`;
}
