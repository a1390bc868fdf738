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
    panel.querySelector(".again").addEventListener("click", () => this.#again());
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
    const before = this.#tile;
    this.#tile = tile;
    this.#grid.single(tile?.name ?? null);
    this.#strip.only(tile?.name ?? "");
    this.#panel.hidden = tile === null;
    document.querySelector("main").classList.toggle("single", tile !== null);
    // All of it is to be laid out again: the panel takes its part of the width.
    this.#grid.layOut();
    if (tile === null) {
      // Back to where one was, among sixty maybe.
      before?.focus();
      return;
    }
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
    this.#tell(Object.entries(facts).filter(([, value]) => value !== ""));
    const edit = this.#panel.querySelector(".edit-zones");
    // Without a picture nobody knows where in it a corner is.
    edit.disabled = this.#editor !== null || !(this.#tile.size.width > 0);
    edit.title = this.#tile.size.width > 0 ? "" : "Zones are drawn into the picture, and there is none yet";
    // What was given up, or waits for its turn.
    this.#panel.querySelector(".again").hidden = !["lost", "stopped", "stalled"].includes(camera.state);
    for (const chart of this.#charts) chart.draw(this.#tile.history.samples);
  }

  /** Changes what is different alone: a text that somebody has marked stays marked. */
  #tell(facts) {
    const list = this.#panel.querySelector("dl");
    while (list.children.length > facts.length) list.lastChild.remove();
    while (list.children.length < facts.length) list.append(make("div", {}, make("dt"), make("dd")));
    facts.forEach(([name, value], index) => {
      const [term, description] = list.children[index].children;
      say(term, name);
      say(description, value);
    });
  }

  #again() {
    send("POST", path`/api/processes/${`${this.#tile.name}.capture`}/restart`).catch((error) => this.#notify(error.message));
  }

  async #remove() {
    if (await removeCamera(this.#tile.name, document.querySelector("#remove"))) location.hash = "";
  }

  async #edit() {
    const tile = this.#tile;
    try {
      // Somebody else may have changed them, here or in the file.
      tile.zones = (await send("GET", path`/api/cameras/${tile.name}`)).zones ?? [];
    } catch (error) {
      this.#notify(error.message);
      return;
    }
    if (this.#editor !== null || this.#tile !== tile) return;
    const [before, button] = [tile.zones, this.#panel.querySelector(".edit-zones")];
    this.#editor = new ZoneEditor(this.#panel.querySelector(".editor"), tile, (saved) => {
      this.#editor = null;
      if (!saved) tile.zones = before;
      tile.redraw();
      this.#draw();
      button.focus({ preventScroll: true });
      if (saved) this.#notify(`Zones of ${tile.name} saved.`);
    });
    this.#draw();
  }

  /** Escape goes back to all cameras, arrows to the neighbours. */
  #key(event) {
    if (event.key === "Escape" && this.#editor !== null && document.querySelector("dialog[open]") === null) {
      this.#editor.close();
      return;
    }
    const elsewhere = event.target.closest?.("input, select, textarea, dialog, .corner") || event.ctrlKey || event.altKey || event.metaKey;
    if (this.#tile === null || elsewhere || document.fullscreenElement) return;
    if (event.key === "Escape") location.hash = "";
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step === undefined || this.#editor) return;
    // Whoever has looked for some goes through these.
    const names = this.#grid.found.map(({ name }) => name);
    const next = names[(names.indexOf(this.#tile.name) + step + names.length) % names.length];
    if (next !== undefined) location.hash = `camera=${encodeURIComponent(next)}`;
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
