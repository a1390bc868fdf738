/**
 * The page: a tile per camera, what moves in them, what runs for them.
 *
 * Everything comes from one WebSocket, /api/events. A `status` message is the whole truth and makes the page what it says;
 * `detections` go to their camera's tile, which draws them on the picture that they belong to.
 */

import "/valkka-video.js";
import { Events } from "/events.js";
import { Strip } from "/strip.js";
import { Tile } from "/tile.js";

const grid = document.querySelector(".grid");
const summary = document.querySelector(".summary");
const processes = document.querySelector(".processes");
const strip = new Strip(document.querySelector(".strip"));
/** Height of what stands below a picture, and the gap. */
const CAPTION = 52;
/** Tiles by camera. */
const tiles = new Map();

const events = new Events("/api/events?only=status,detections");
events.on("status", showStatus);
events.on("detections", (found) => tiles.get(found.camera)?.detected(found));
events.on("connection", (connected) => {
  summary.classList.toggle("bad", !connected);
  if (!connected) summary.textContent = "Valkka does not answer; trying again…";
});

function showStatus({ cameras, processes }) {
  for (const [name, tile] of tiles) {
    if (cameras.some((camera) => camera.name === name)) continue;
    tile.element.remove();
    tiles.delete(name);
    layOut();
  }
  for (const camera of cameras) {
    let tile = tiles.get(camera.name);
    if (tile === undefined) {
      tile = new Tile(camera.name, strip);
      tiles.set(camera.name, tile);
      grid.append(tile.element);
      layOut();
    }
    tile.show(camera);
  }
  const live = cameras.filter((camera) => camera.state === "live").length;
  summary.textContent = `${counted(cameras.length, "camera")}, ${live === cameras.length ? "all" : live} live`;
  if (cameras.length === 0) summary.textContent = "no cameras yet";
  document.title = `Valkka · ${live}/${cameras.length} live`;
  showProcesses(processes);
}

function showProcesses(list) {
  const running = list.filter((process) => process.state === "running").length;
  processes.querySelector(".count").textContent = `${running} of ${list.length} running`;
  if (!processes.open) return;
  processes.querySelector("tbody").replaceChildren(...list.map((process) => {
    const row = document.createElement("tr");
    row.dataset.state = process.state;
    const cells = [process.name, process.state, process.pid ?? "", process.restarts, process.reason ?? ""];
    row.append(...cells.map((text, column) => {
      const cell = document.createElement("td");
      if (column === 0) cell.append(Object.assign(document.createElement("span"), { className: "dot" }));
      if (column === 2 || column === 3) cell.className = "number";
      cell.append(String(text));
      return cell;
    }));
    return row;
  }));
}
processes.addEventListener("toggle", () => events.last("status") && showProcesses(events.last("status").processes));

/** As many columns as make the pictures largest while all of them, and the strip below, fit the window. */
function layOut() {
  const room = { width: grid.clientWidth, height: Math.max(innerHeight - grid.offsetTop - 240, 240) };
  const picture = (columns) => {
    const rows = Math.ceil(tiles.size / columns);
    return Math.min(room.width / columns, ((room.height / rows - CAPTION) * 16) / 9);
  };
  let best = 1;
  for (let columns = 2; columns <= tiles.size && room.width / columns >= 260; columns++) {
    if (picture(columns) > picture(best)) best = columns;
  }
  grid.style.setProperty("--columns", room.width < 560 ? 1 : best);
  document.querySelector("main").classList.toggle("single", tiles.size === 1);
  grid.classList.toggle("hero", tiles.size === 3 && room.width >= 720);
}
addEventListener("resize", layOut);

function showClock() {
  document.querySelector(".clock").textContent = new Date().toLocaleTimeString([], { timeStyle: "medium", hourCycle: "h23" });
}
setInterval(showClock, 1000);
showClock();

function counted(number, noun) {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}
