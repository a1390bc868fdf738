/** Figures of a camera over the last minutes, and drawing them. */

/** Samples that are kept, one a second. */
const KEPT = 180;

export class History {
  /** {time, fps, latency, drops}, the newest last; null is unknown. */
  samples = [];

  due(now) {
    const last = this.samples.at(-1);
    return last === undefined || now - last.time >= 0.9;
  }

  add(time, figures) {
    this.samples.push({ time, ...figures });
    if (this.samples.length > KEPT) this.samples.shift();
  }
}

/** A line over time on a canvas, with its highest value at the left edge. */
export class Chart {
  #figure;
  #canvas;
  #value;
  #key;
  #unit;
  #title;

  /** `figure` has a figcaption with an output, and a canvas. `unit` makes a text of a number. */
  constructor(figure, key, title, unit) {
    this.#figure = figure;
    this.#canvas = figure.querySelector("canvas");
    this.#value = figure.querySelector("output");
    [this.#key, this.#title, this.#unit] = [key, title, unit];
  }

  draw(samples) {
    const values = samples.map((sample) => sample[this.#key]);
    const last = values.findLast((value) => value !== null);
    const text = last === undefined ? "–" : this.#unit(last);
    this.#value.textContent = text;
    this.#canvas.setAttribute("aria-label", `${this.#title} over the last three minutes, now ${text}`);
    const scale = devicePixelRatio || 1;
    const [width, height] = [this.#canvas.clientWidth, this.#canvas.clientHeight];
    if (width === 0) return;
    this.#canvas.width = Math.round(width * scale);
    this.#canvas.height = Math.round(height * scale);
    const context = this.#canvas.getContext("2d");
    context.scale(scale, scale);
    const most = nice(Math.max(...values.filter((value) => value !== null), this.#key === "drops" ? 4 : 1));
    this.#axis(context, width, height, most);
    const at = (index, value) => [
      width - (values.length - 1 - index) * (width / (KEPT - 1)),
      height - 2 - (value / most) * (height - 16),
    ];
    if (this.#key === "drops") this.#bars(context, values, at, height);
    else this.#line(context, values, at, height);
  }

  #axis(context, width, height, most) {
    context.strokeStyle = colour("--line");
    context.lineWidth = 1;
    context.beginPath();
    for (const y of [14.5, Math.round(height / 2 + 6) + 0.5, height - 1.5]) {
      context.moveTo(0, y);
      context.lineTo(width, y);
    }
    context.stroke();
    context.fillStyle = colour("--quiet");
    context.font = "10px system-ui, 'DejaVu Sans', sans-serif";
    context.fillText(this.#unit(most), 0, 10);
    const span = "3 min";
    context.fillText(span, width - context.measureText(span).width, 10);
  }

  #line(context, values, at, height) {
    context.strokeStyle = context.fillStyle = colour("--chart");
    context.lineWidth = 1.75;
    context.lineJoin = "round";
    let run = [];
    const finish = () => {
      if (run.length > 1) {
        context.globalAlpha = 0.13;
        context.beginPath();
        run.forEach(([x, y]) => context.lineTo(x, y));
        context.lineTo(run.at(-1)[0], height - 2);
        context.lineTo(run[0][0], height - 2);
        context.fill();
        context.globalAlpha = 1;
        context.beginPath();
        run.forEach(([x, y]) => context.lineTo(x, y));
        context.stroke();
      }
      run = [];
    };
    values.forEach((value, index) => (value === null ? finish() : run.push(at(index, value))));
    finish();
  }

  #bars(context, values, at, height) {
    context.fillStyle = colour("--bad");
    values.forEach((value, index) => {
      if (value === null || value === 0) return;
      const [x, y] = at(index, value);
      context.fillRect(x - 1.5, y, 2, height - 2 - y);
    });
  }
}

/** The next of 1, 2, 5, 10, 20, 30, 50, ... */
function nice(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 3, 5, 10].map((step) => step * power).find((step) => step >= value);
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
