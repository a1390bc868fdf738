/**
 * The WebSocket to the server: opened, spoken over in go2rtc's way, and opened anew with growing pauses when it ends.
 *
 *   closed ──open()──► connecting ──"mse"──► open ──► (ended, silent, refused) ──► pause ──► connecting
 *
 * Knows messages, not media.
 */

/** Seconds between attempts; the first is soon, for a server that was only restarted. */
const PAUSES = [0.25, 0.5, 1, 2, 4, 8];
/** Seconds without a message after which a connection counts as dead (a stream without motion still has frames). */
const SILENCE = 15;
/** The same after something has happened that connections rarely survive. */
const DOUBT = 3;

export class Connection {
  #address;
  #hello;
  #heard;
  #lost;
  #socket = null;
  #retry = null;
  #attempt = 0;
  #last = 0;
  #patience = SILENCE;
  #paused = false;
  reconnects = 0;

  /**
   * @param address of the WebSocket
   * @param hello makes the first message
   * @param heard gets each message: an object, or an ArrayBuffer
   * @param lost is told, with a reason, when the connection has ended; it is tried again
   */
  constructor(address, { hello, heard, lost }) {
    this.#address = address;
    this.#hello = hello;
    this.#heard = heard;
    this.#lost = lost;
    this.#open();
    addEventListener("online", this.#doubt);
  }

  /** For good. */
  close() {
    removeEventListener("online", this.#doubt);
    this.#drop();
  }

  /** Media came and was played: the next trouble is a new one. */
  proven() {
    this.#attempt = 0;
  }

  say(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  /** The server is to send nothing; silence is no sign of anything then. */
  pause() {
    this.#paused = true;
    this.say({ type: "pause" });
  }

  resume() {
    this.#paused = false;
    this.say({ type: "resume" });
    this.#doubt();
  }

  /** The connection may be dead without knowing it: the machine slept, the network has changed. */
  #doubt = () => {
    if (this.#retry !== null) {
      this.#open();
    } else {
      this.#last = performance.now();
      this.#patience = DOUBT;
    }
  };

  /** To be called every now and then. */
  check() {
    const now = performance.now();
    const silent = (now - this.#last) / 1000;
    if (this.#socket !== null && !this.#paused && silent > this.#patience) this.again("the server is silent");
  }

  /** The timer that was to call `check` came so late that the machine must have slept. */
  slept() {
    if (!this.#paused) this.#doubt();
  }

  /** Ends the connection and tries anew after a pause, or at once. */
  again(reason, atOnce = false) {
    this.#drop();
    this.reconnects++;
    const pause = atOnce ? 0 : PAUSES[Math.min(this.#attempt++, PAUSES.length - 1)];
    // A little chance, so that a hundred pages do not come back in the same moment.
    this.#retry = setTimeout(() => this.#open(), pause * (0.75 + Math.random() / 2) * 1000);
    this.#lost(reason);
  }

  #open() {
    this.#drop();
    const socket = new WebSocket(this.#address);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    this.#last = performance.now();
    this.#patience = SILENCE;
    socket.onopen = () => {
      socket.send(JSON.stringify(this.#hello()));
      if (this.#paused) this.say({ type: "pause" });
    };
    socket.onmessage = ({ data }) => {
      this.#last = performance.now();
      this.#patience = SILENCE;
      if (typeof data !== "string") {
        this.#heard(data);
        return;
      }
      let message = null;
      try {
        message = JSON.parse(data);
      } catch {
        // Not for us.
      }
      if (typeof message?.type === "string") this.#heard(message);
    };
    socket.onclose = ({ code }) => {
      if (this.#socket === socket) this.again(code === 1006 ? "the server does not answer" : "the server closed the connection");
    };
  }

  #drop() {
    clearTimeout(this.#retry);
    this.#retry = null;
    const socket = this.#socket;
    this.#socket = null;
    if (socket === null) return;
    socket.onmessage = socket.onclose = null;
    socket.close();
  }
}
