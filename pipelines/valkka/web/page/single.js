/** One camera large: its figures beside it, and what can be done with it. */

import { path, send } from "/api.js";
import { Chart } from "/chart.js";
import { removeCamera } from "/dialogs.js";
import { duration, make, milliseconds, say } from "/dom.js";
import { ZoneEditor } from "/zones.js";

export class Single {
  #panel;
  #grid;
  #charts;
  #tile = null;
  #editor = null;
  #strip;
  #notify;

  constructor(panel, grid, strip, notify) {
    this.#panel = panel;
    this.#grid = grid;
    this.#strip = strip;
    this.#notify = notify;
    const figure = (name) => panel.querySelector(`figure.${name}`);
    this.#charts = [
      new Chart(figure("fps"), "fps", "Frame rate", (rate) => `${rate < 10 ? Number(rate.toFixed(1)) : Math.round(rate)} fps`),
      new Chart(figure("latency"), "latency", "Latency", milliseconds),
      new Chart(figure("drops"), "drops", "Dropped frames", String),
    ];
    panel.querySelector(".remove").addEventListener("click", () => this.#remove());
    panel.querySelector(".edit-zones").addEventListener("click", () => this.#edit());
    addEventListener("hashchange", () => this.follow());
    addEventListener("keydown", (event) => this.#key(event));
    setInterval(() => this.#draw(), 1000);
    addEventListener("theme", () => this.#draw());
  }

  /** Shows what the address says, once the camera is there. */
  follow() {
    const wanted = new URLSearchParams(location.hash.slice(1)).get("camera");
    const tile = wanted === null ? null : (this.#grid.tiles.get(wanted) ?? null);
    if (tile === this.#tile) {
      this.#draw();
      return;
    }
    this.#editor?.close();
    this.#tile = tile;
    this.#grid.single(tile?.name ?? null);
    this.#strip.only(tile?.name ?? "");
    this.#panel.hidden = tile === null;
    document.querySelector("main").classList.toggle("single", tile !== null);
    // All of it is to be laid out again: the panel takes its part of the width.
    this.#grid.layOut();
    if (tile === null) return;
    say(this.#panel.querySelector("h2"), tile.name);
    this.#panel.querySelector(".snapshot").href = path`/api/cameras/${tile.name}/frame.jpeg`;
    this.#panel.querySelector(".snapshot").download = `${tile.name}.jpeg`;
    scrollTo({ top: 0 });
    this.#panel.querySelector(".back").focus({ preventScroll: true, focusVisible: false });
    this.#draw();
  }

  #draw() {
    const camera = this.#tile?.camera;
    if (!camera) return;
    this.#panel.dataset.state = camera.state;
    say(this.#panel.querySelector(".badge"), camera.state);
    const stats = this.#tile.player?.stats;
    const facts = {
      [`${camera.state} for`]: duration(Date.now() / 1000 - camera.since),
      "reason": camera.reason ?? "",
      "source": camera.source ?? "",
      "viewers": String(camera.viewers),
      "newest frame": camera.age_ms === null ? "" : `${milliseconds(camera.age_ms)} ago`,
      "picture": stats?.width ? `${stats.width} × ${stats.height}` : "",
      "player": stats?.mode ? `${stats.mode === "mse" ? "MSE" : "WebCodecs"}, ${milliseconds(stats.target * 1000)} reserve` : "",
    };
    const list = this.#panel.querySelector("dl");
    const rows = Object.entries(facts).filter(([, value]) => value !== "");
    list.replaceChildren(...rows.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
    for (const chart of this.#charts) chart.draw(this.#tile.history.samples);
  }

  async #remove() {
    if (await removeCamera(this.#tile.name, document.querySelector("#remove"))) location.hash = "";
  }

  #edit() {
    if (this.#editor !== null) return;
    const tile = this.#tile;
    const before = tile.zones;
    this.#panel.querySelector(".edit-zones").disabled = true;
    this.#editor = new ZoneEditor(this.#panel.querySelector(".editor"), tile, (saved) => {
      this.#editor = null;
      this.#panel.querySelector(".edit-zones").disabled = false;
      if (!saved) tile.zones = before;
      tile.redraw();
      if (saved) this.#notify(`Zones of ${tile.name} saved.`);
    });
  }

  /** Escape goes back to all cameras, arrows to the neighbours. */
  #key(event) {
    const elsewhere = event.target.closest?.("input, select, textarea, dialog, .corner") || event.ctrlKey || event.altKey || event.metaKey;
    if (this.#tile === null || elsewhere || document.fullscreenElement) return;
    if (event.key === "Escape") {
      if (this.#editor) this.#editor.close();
      else location.hash = "";
    }
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step === undefined || this.#editor) return;
    const names = [...this.#grid.tiles.keys()];
    const next = names[(names.indexOf(this.#tile.name) + step + names.length) % names.length];
    location.hash = `camera=${encodeURIComponent(next)}`;
  }
}

/** The zones of all cameras, as they are configured. */
export async function loadZones(grid) {
  const { cameras } = await send("GET", "/api/cameras");
  for (const { name, zones } of cameras) {
    const tile = grid.tiles.get(name);
    if (tile) tile.zones = zones ?? [];
  }
}
