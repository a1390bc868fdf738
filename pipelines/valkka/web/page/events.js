/** Messages of /api/events, by type; connects again when the connection ends. */

import { send } from "/api.js";

/** Seconds between attempts. */
const PAUSES = [0.5, 1, 2, 4];

export class Events {
  #path;
  #listeners = new Map();
  #last = new Map();
  #attempt = 0;

  constructor(path) {
    this.#path = path;
    this.#connect();
  }

  /** Calls `listener` with the value of each message of a type; "connection" is true and false. */
  on(type, listener) {
    this.#listeners.set(type, [...(this.#listeners.get(type) ?? []), listener]);
  }

  /** The newest value of a type. */
  last(type) {
    return this.#last.get(type);
  }

  #connect() {
    const url = new URL(this.#path, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = new WebSocket(url);
    let opened = false;
    socket.onopen = () => {
      opened = true;
      this.#attempt = 0;
      this.#tell("connection", true);
    };
    socket.onmessage = (event) => {
      const { type, value } = JSON.parse(event.data);
      this.#tell(type, value);
    };
    socket.onclose = () => {
      this.#tell("connection", false);
      // A WebSocket does not tell why it was refused; a plain request asks for the token if that is the reason.
      if (!opened) send("GET", "/api/status").catch(() => {});
      const pause = PAUSES[Math.min(this.#attempt++, PAUSES.length - 1)];
      setTimeout(() => this.#connect(), pause * 1000);
    };
  }

  #tell(type, value) {
    this.#last.set(type, value);
    for (const listener of this.#listeners.get(type) ?? []) listener(value);
  }
}
