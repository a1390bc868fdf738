/** The table of processes: what runs, how often it was started again, what it prints. */

import { lines, path, send } from "/api.js";
import { counted, duration, icon, make, say } from "/dom.js";

/** Lines of the past, and lines that are kept. */
const [PAST, KEPT] = [200, 1000];
const COLUMNS = ["Process", "State", "PID", "CPU", "Memory", "Restarts", "Why it ended"];

export class Processes {
  #section;
  #body;
  #rows = new Map();
  #newest = [];
  #text = "";
  #log;
  #notify;

  /** `notify(text)` tells the user something. */
  constructor(section, notify) {
    this.#section = section;
    this.#body = section.querySelector("tbody");
    this.#notify = notify;
    this.#log = new Log(section.querySelector(".log"));
    section.addEventListener("toggle", () => {
      if (section.open) this.show(this.#newest);
      else this.#log.close();
    });
  }

  show(processes) {
    this.#newest = processes;
    const running = processes.filter(({ state }) => state === "running").length;
    const troubled = processes.filter(({ state }) => state === "waiting" || state === "failed").length;
    const trouble = troubled > 0 ? `, ${troubled} in trouble` : "";
    say(this.#section.querySelector(".count"), `${running} of ${processes.length} running${trouble}`);
    this.#section.querySelector(".count").classList.toggle("bad", troubled > 0);
    if (!this.#section.open) return;
    const names = new Set(processes.map(({ name }) => name));
    for (const [name, row] of this.#rows) {
      if (names.has(name)) continue;
      row.remove();
      this.#rows.delete(name);
    }
    for (const process of processes) {
      let row = this.#rows.get(process.name);
      if (row === undefined) {
        row = this.#addRow(process.name);
        this.#rows.set(process.name, row);
      }
      this.#fill(row, process);
      row.hidden = !process.name.includes(this.#text);
    }
  }

  /** Shows those alone that have this in their names. */
  filter(text) {
    if (text === this.#text) return;
    this.#text = text;
    this.show(this.#newest);
  }

  #addRow(name) {
    const restart = make("button", { type: "button", class: "quiet", title: `Start ${name} again`, "aria-label": `Start ${name} again` }, icon("restart"));
    restart.addEventListener("click", async () => {
      restart.disabled = true;
      await send("POST", path`/api/processes/${name}/restart`).catch((error) => this.#notify(error.message));
      restart.disabled = false;
    });
    const log = make("button", { type: "button", class: "quiet", title: `Log of ${name}`, "aria-label": `Log of ${name}` }, icon("log"));
    log.addEventListener("click", () => this.#log.open(name));
    const cells = COLUMNS.map((column, index) => make("td", { "data-column": column, class: index >= 2 && index <= 5 ? "number" : undefined }));
    cells[0].append(make("strong", {}, name));
    cells[1].append(make("span", { class: "dot" }), make("span"));
    const row = make("tr", {}, ...cells, make("td", { class: "actions" }, log, restart));
    row.dataset.process = name;
    this.#body.append(row);
    return row;
  }

  #fill(row, process) {
    row.dataset.state = process.state;
    const [, state, pid, cpu, memory, restarts, reason] = row.cells;
    say(state.lastChild, process.state);
    state.title = typeof process.since === "number" ? `for ${duration(Date.now() / 1000 - process.since)}` : "";
    say(pid, String(process.pid ?? "–"));
    say(cpu, typeof process.cpu_percent === "number" ? `${process.cpu_percent.toFixed(1)}%` : "–");
    say(memory, typeof process.pss_bytes === "number" ? `${(process.pss_bytes / 2 ** 20).toFixed(0)} MB` : "–");
    say(restarts, String(process.restarts));
    say(reason, process.reason ?? "");
  }
}

/** The end of what a process prints, going on. */
class Log {
  #section;
  #lines;
  #stop = null;

  constructor(section) {
    this.#section = section;
    this.#lines = section.querySelector("ol");
    section.querySelector("button").append(icon("close"));
    section.querySelector("button").addEventListener("click", () => this.close());
  }

  close() {
    this.#stop?.abort();
    this.#stop = null;
    this.#section.hidden = true;
  }

  async open(process) {
    this.close();
    const stop = (this.#stop = new AbortController());
    say(this.#section.querySelector("h3"), `Log of ${process}`);
    this.#lines.replaceChildren();
    this.#section.hidden = false;
    this.#section.scrollIntoView({ block: "nearest" });
    this.#section.focus({ preventScroll: true });
    try {
      const address = `/api/logs?process=${encodeURIComponent(process)}&lines=${PAST}&follow=true`;
      for await (const line of lines(address, stop.signal)) this.#add(line);
      this.#say("The log has ended.");
    } catch (error) {
      if (!stop.signal.aborted) this.#say(error.message);
    }
  }

  #add({ time, line }) {
    const when = new Date(time * 1000).toLocaleTimeString([], { timeStyle: "medium", hourCycle: "h23" });
    const list = this.#lines;
    // Whoever has scrolled up reads something, and is left there.
    const below = list.scrollHeight - list.scrollTop - list.clientHeight;
    const worry = /\b(error|critical|fatal|panicked)\b/i.test(line) ? "error" : /\bwarn(ing)?\b/i.test(line) ? "warning" : undefined;
    list.append(make("li", { class: worry }, make("time", {}, when), make("span", {}, line)));
    while (list.children.length > KEPT) list.firstChild.remove();
    if (below < 40) list.scrollTop = list.scrollHeight;
    say(this.#section.querySelector(".count"), counted(list.children.length, "line"));
  }

  #say(text) {
    this.#lines.append(make("li", { class: "quiet" }, text));
  }
}
