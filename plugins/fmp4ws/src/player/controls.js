/**
 * What lies over the picture: a notice while there is none, figures, and buttons. All of it for mouse, finger, keyboard and
 * screen reader alike; nothing of it while nobody asks, unless there is no picture.
 */

const STYLE = `
  :host { display: block; position: relative; container-type: inline-size; overflow: hidden; background: #000; color: #f2f4f6;
    font: 13px/1.45 system-ui, "DejaVu Sans", sans-serif; }
  :host(:focus-visible) { outline: 2px solid #ffc857; outline-offset: -2px; }
  video, canvas.picture { display: block; width: 100%; height: 100%; object-fit: contain; }
  /* The last picture, while the next one comes. */
  video:not([hidden]) + canvas { position: absolute; inset: 0; }
  [hidden] { display: none !important; }
  ::slotted(*) { position: absolute; inset: 0; width: 100%; height: 100%; pointer-events: none; }
  .notice { position: absolute; inset: 0; display: grid; place-content: center; padding: 1em; text-align: center;
    pointer-events: none; background: #0008; transition: opacity 0.2s; }
  .notice.quiet { opacity: 0; }
  .figures { position: absolute; top: 8px; left: 8px; margin: 0; padding: 6px 10px; border-radius: 6px; background: #000b;
    display: grid; grid-template-columns: auto auto; gap: 0 12px; font-size: 12px; z-index: 1; pointer-events: none; }
  @container (max-width: 480px) { .figures { top: 4px; left: 4px; padding: 3px 6px; font-size: 10px; line-height: 1.35; } }
  /* They say the same. */
  .figures:not([hidden]) ~ .notice { color: #0000; }
  .figures dt { color: #b8c0c8; }
  .figures dd { margin: 0; text-align: right; font-variant-numeric: tabular-nums; }
  .buttons { position: absolute; right: 0; bottom: 0; left: 0; display: flex; justify-content: flex-end; gap: 4px; padding: 28px 8px 6px;
    background: linear-gradient(#0000, #000a); opacity: 0; transition: opacity 0.15s; pointer-events: none; }
  :host(:hover) .buttons, :host(:focus-within) .buttons, .buttons:focus-within { opacity: 1; }
  @media (hover: none) { .buttons { opacity: 1; } }
  .buttons button { all: unset; box-sizing: border-box; width: 36px; height: 36px; padding: 8px; border-radius: 6px; cursor: pointer; pointer-events: auto; }
  .buttons button:hover, .buttons button[aria-pressed="true"] { background: #fff3; }
  .buttons button:focus-visible { outline: 2px solid #ffc857; }
  .buttons svg { display: block; fill: none; stroke: currentColor; stroke-width: 1.8; stroke-linecap: round; stroke-linejoin: round; }
  @media (prefers-reduced-motion: reduce) { .notice, .buttons { transition: none; } }
`;

/** Of each button: what it does, the key that does the same, and its drawing. */
const BUTTONS = [
  ["pause", "Pause", "Space", "M7 4v12M13 4v12"],
  ["sound", "Sound", "M", "M3 8v4h3l4 3V5L6 8zM13 7.5c1.6 1.4 1.6 3.6 0 5M15.5 5c3 2.800 3 7.200 0 10"],
  ["figures", "Figures", "I", "M4 16V9M10 16V4M16 16v-5"],
  ["full-screen", "Full screen", "F", "M3 7V3h4M13 3h4v4M17 13v4h-4M7 17H3v-4"],
];

const KEYS = { " ": "pause", k: "pause", m: "sound", i: "figures", f: "full-screen" };

export class Controls {
  #root;
  #said = "";

  /** Fills a shadow root. `act` is called with the name of what somebody wants. */
  constructor(root, act) {
    this.#root = root;
    const buttons = BUTTONS.map(([what, label, key, path]) => `<button type="button" data-act="${what}" aria-label="${label}"
      aria-keyshortcuts="${key}" aria-pressed="false" title="${label} (${key})"><svg viewBox="0 0 20 20" aria-hidden="true"><path d="${path}"/></svg></button>`);
    // Made, not written into the tree: pages may forbid styles that are written into them.
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLE);
    root.adoptedStyleSheets = [sheet];
    root.innerHTML = `
      <video muted playsinline part="video"></video>
      <canvas class="picture" part="video" role="img" hidden></canvas>
      <slot></slot>
      <dl class="figures" part="figures" hidden></dl>
      <div class="notice" part="notice" role="status"></div>
      <div class="buttons" part="buttons" role="group" aria-label="player" hidden>${buttons.join("")}</div>`;
    for (const button of root.querySelectorAll("button")) button.addEventListener("click", () => act(button.dataset.act));
    root.host.addEventListener("keydown", (event) => {
      const own = event.composedPath()[0];
      // A button knows what Space does to it; a key that the page uses is the page's.
      const busy = event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented;
      const what = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
      if (busy || what === undefined || (own !== root.host && (own.localName !== "button" || event.key === " "))) return;
      event.preventDefault();
      if (!event.repeat) act(what);
    });
  }

  part(selector) {
    return this.#root.querySelector(selector);
  }

  /** Words for a state: over the picture, or for screen readers alone. */
  say(state, reason) {
    const [text, visible] = words(state, reason);
    const notice = this.part(".notice");
    notice.classList.toggle("quiet", !visible);
    if (text === this.#said) return;
    this.#said = text;
    notice.textContent = text;
  }

  /** Which buttons there are, and which are pressed. */
  buttons(visible, { paused, muted, audible, figures }) {
    this.part(".buttons").hidden = !visible;
    const press = (what, pressed) => this.part(`[data-act="${what}"]`).setAttribute("aria-pressed", pressed);
    press("pause", paused);
    press("sound", !muted);
    press("figures", figures);
    this.part('[data-act="sound"]').hidden = !audible;
  }

  /** The element's `stats`, or null for nothing. */
  figures(stats) {
    const list = this.part(".figures");
    list.hidden = stats === null;
    if (stats === null) return;
    list.replaceChildren(...figures(stats).flatMap(([name, value]) => [
      Object.assign(document.createElement("dt"), { textContent: name }),
      Object.assign(document.createElement("dd"), { textContent: value }),
    ]));
  }
}

/** What is said about a state, and whether it is to be seen. */
function words(state, reason) {
  switch (state) {
    case "idle": return ["", false];
    case "connecting": return [reason === "" ? "connecting…" : `${reason}; trying again…`, true];
    case "playing": return ["live", false];
    case "stalled": return ["the picture stands still", true];
    case "paused": return ["paused", true];
    case "ended": return ["the stream has ended", true];
    default: return [reason.replace(/^mse: /, ""), true];
  }
}

function figures(stats) {
  const ms = (seconds) => (seconds === null ? "unknown" : `${Math.round(seconds * 1000)} ms`);
  return [
    ["state", stats.reason === "" ? stats.state : stats.reason],
    ["played by", { mse: "MSE", webcodecs: "WebCodecs" }[stats.mode] ?? "–"],
    ["picture", stats.width > 0 ? `${stats.width}×${stats.height}` : "–"],
    ["codecs", /codecs="([^"]*)"/.exec(stats.mime ?? "")?.[1] ?? "–"],
    ["delay", ms(stats.latency)],
    ["jitter", ms(stats.jitter)],
    ["kept for it", ms(stats.target)],
    ["shown, dropped", `${stats.frames}, ${stats.droppedByBrowser + stats.droppedByServer}`],
    ["stalls, connections", `${stats.stalls}, ${stats.reconnects + 1}`],
  ];
}
