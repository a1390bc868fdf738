/** What is drawn over a picture: boxes with labels, and zones. */

/** Where in an element the picture lies: it keeps its shape, so there may be bars beside it. */
export function pictureIn(width, height, pictureWidth, pictureHeight) {
  if (!pictureWidth || !pictureHeight) return { x: 0, y: 0, w: width, h: height };
  const factor = Math.min(width / pictureWidth, height / pictureHeight);
  const [w, h] = [pictureWidth * factor, pictureHeight * factor];
  return { x: (width - w) / 2, y: (height - h) / 2, w, h };
}

/** Clears a canvas and makes it as sharp as the screen. `size` is that of the picture. */
export function begin(canvas, size) {
  const scale = devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, picture: pictureIn(width, height, size.width, size.height), chips: [] };
}

const MARK = "#ffc857";
const ZONE = "#5aa9ff";

/** A thin frame with strong corners, and what it is. */
export function drawBox(drawing, { box: [x1, y1, x2, y2], label, score, id }) {
  const { context, picture } = drawing;
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
  // In a small picture the label alone; in a large one all that is known.
  const words = picture.w < 560 ? [label] : [label, number(id), percent(score)];
  chip(drawing, x, y, words.filter(Boolean).join(" "), MARK);
}

function number(id) {
  return id === undefined || id === null ? "" : typeof id === "number" ? `#${id}` : `#${String(id).slice(-4)}`;
}

function percent(score) {
  return typeof score === "number" ? `${Math.round(score * 100)}%` : "";
}

/** A label above a point, or below it at the picture's upper edge; above or below one that is there already. */
function chip({ context, picture, chips }, x, y, text, colour) {
  const size = picture.w < 560 ? 9 : 11;
  context.font = `600 ${size}px system-ui, 'DejaVu Sans', sans-serif`;
  const [w, h] = [context.measureText(text).width + size - 1, size + 5];
  const left = Math.max(Math.min(x, picture.x + picture.w - w), picture.x);
  const free = (top) => chips.every((other) => left >= other.left + other.w || other.left >= left + w || Math.abs(top - other.top) >= h);
  const wanted = Math.max(y - h - 3, picture.y);
  const top = [wanted, wanted - h - 1, wanted + h + 1].find((top) => top >= picture.y && free(top)) ?? wanted;
  chips.push({ left, w, top });
  context.fillStyle = colour;
  context.beginPath();
  context.roundRect(left, top, w, h, 4);
  context.fill();
  context.fillStyle = "#16130a";
  context.fillText(text, left + (size - 1) / 2, top + size + 1.5);
}

/** A polygon with its name. */
export function drawZone(drawing, { name, points }) {
  const { context, picture } = drawing;
  if (points.length < 2) return;
  context.beginPath();
  for (const [x, y] of points) context.lineTo(picture.x + x * picture.w, picture.y + y * picture.h);
  context.closePath();
  context.globalAlpha = 0.14;
  context.fillStyle = ZONE;
  context.fill();
  context.globalAlpha = 0.9;
  context.strokeStyle = ZONE;
  context.lineWidth = 1.5;
  context.setLineDash([6, 4]);
  context.stroke();
  context.setLineDash([]);
  context.globalAlpha = 1;
  const [x, y] = points.reduce((top, point) => (point[1] < top[1] ? point : top));
  chip(drawing, picture.x + x * picture.w, picture.y + y * picture.h, name, ZONE);
}
