/** Messages of /api/events, by type; connects again when the connection ends. */

import { send } from "/api.js";

/** Seconds between attempts. */
const PAUSES = [0.5, 1, 2, 4];
/** The status comes every second: after so many seconds of silence the connection is dead without knowing it. */
const SILENCE = 10;

export class Events {
  #path;
  #listeners = new Map();
  #attempt = 0;
  #socket = null;
  #heard = 0;

  constructor(path) {
    this.#path = path;
    this.#connect();
    setInterval(() => this.#check(), 2000);
  }

  /** Calls `listener` with the value of each message of a type; "connection" is true and false. */
  on(type, listener) {
    this.#listeners.set(type, [...(this.#listeners.get(type) ?? []), listener]);
  }

  #connect() {
    const url = new URL(this.#path, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = (this.#socket = new WebSocket(url));
    this.#heard = performance.now();
    let opened = false;
    socket.onopen = () => {
      opened = true;
      this.#attempt = 0;
      this.#tell("connection", true);
    };
    socket.onmessage = (event) => {
      this.#heard = performance.now();
      const { type, value } = JSON.parse(event.data);
      this.#tell(type, value);
    };
    socket.onclose = () => {
      // A WebSocket does not tell why it was refused; a plain request asks for the token if that is the reason.
      if (!opened) send("GET", "/api/status").catch(() => {});
      this.#again();
    };
  }

  #again() {
    this.#socket = null;
    this.#tell("connection", false);
    const pause = PAUSES[Math.min(this.#attempt++, PAUSES.length - 1)];
    setTimeout(() => this.#connect(), pause * 1000);
  }

  /** The machine slept, or the network has changed: closing would wait for an answer that never comes. */
  #check() {
    const socket = this.#socket;
    if (socket === null || performance.now() - this.#heard < SILENCE * 1000) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
    this.#again();
  }

  #tell(type, value) {
    for (const listener of this.#listeners.get(type) ?? []) listener(value);
  }
}
