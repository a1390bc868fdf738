/** The page: all cameras, what was seen, what runs. This file brings the parts together. */

import "/valkka-video.js";
import { takeTokenFromAddress } from "/api.js";
import { addCameraBy } from "/dialogs.js";
import { counted, say } from "/dom.js";
import { Events } from "/events.js";
import { Grid } from "/grid.js";
import { Processes } from "/processes.js";
import { Single, loadZones } from "/single.js";
import { Strip } from "/strip.js";
import { Tools } from "/tools.js";

const part = (selector) => document.querySelector(selector);

let noticed = null;
/** Tells the user something, for a while. */
function notify(text) {
  say(part("#notice"), text);
  part("#notice").hidden = false;
  clearTimeout(noticed);
  noticed = setTimeout(() => (part("#notice").hidden = true), 6000);
}

await takeTokenFromAddress();

const strip = new Strip(part(".detections"));
const grid = new Grid(part(".grid"), strip);
const single = new Single(part(".panel.camera-details"), grid, strip, notify);
const processes = new Processes(part(".processes"), notify);
const tools = new Tools(part(".tools"), grid, processes);
addCameraBy(document.querySelectorAll(".add-camera"), part("#add"));

const events = new Events("/api/events?only=status,detections,object");
events.on("status", (status) => {
  if (grid.show(status.cameras)) {
    strip.cameras(status.cameras.map(({ name }) => name));
    loadZones(grid).catch(() => {});
  }
  single.follow();
  processes.show(status.processes);
  tools.show(status.cameras);
  summarize(status.cameras);
});
events.on("detections", (found) => grid.tiles.get(found.camera)?.detected(found));
events.on("object", (life) => {
  const tile = grid.tiles.get(life.after.camera);
  if (tile !== undefined) strip.told(life, tile.plays);
});
events.on("connection", (connected) => {
  // It is tried again with the next connection.
  if (connected) strip.catchUp().catch(() => {});
  part(".summary").classList.toggle("bad", !connected);
  const waits = part("#login").open ? "waiting for the token" : "Valkka does not answer; trying again…";
  if (!connected) say(part(".summary"), waits);
});

function summarize(cameras) {
  const live = cameras.filter(({ state }) => state === "live").length;
  const all = live === cameras.length ? "all" : live;
  say(part(".summary"), cameras.length === 0 ? "no cameras" : `${counted(cameras.length, "camera")}, ${all} live`);
  part(".summary").classList.toggle("bad", live < cameras.length);
  part(".welcome").hidden = cameras.length > 0;
  document.title = `Valkka · ${live}/${cameras.length} live`;
}

function showClock() {
  say(part(".clock"), new Date().toLocaleTimeString([], { timeStyle: "medium", hourCycle: "h23" }));
}
setInterval(showClock, 1000);
showClock();
