/** Making elements. Text is always text: what a camera is called never becomes HTML. */

/** An element with properties ("class", "data-...", "aria-..." and others with a dash are attributes) and children. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name === "class") element.className = value;
    else if (name.includes("-")) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

/** A picture out of the page's own set (index.html has them as symbols). */
export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(space, "use");
  use.setAttribute("href", `#${name}`);
  svg.append(use);
  return svg;
}

/** Sets an element's text, if it is another one: layout is not disturbed for nothing. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** "1 camera", "2 cameras". */
export function counted(number, noun) {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

/** A length of time in ms for people. */
export function milliseconds(ms) {
  return ms < 1000 ? `${Math.round(ms)} ms` : ms < 60_000 ? `${(ms / 1000).toFixed(1)} s` : duration(ms / 1000);
}

/** A length of time in seconds for people: "12 s", "3 min", "5 h", "2 days". */
export function duration(seconds) {
  for (const [unit, length] of [["day", 86400], ["h", 3600], ["min", 60]]) {
    const whole = Math.floor(seconds / length);
    if (whole > 0) return unit === "day" ? counted(whole, unit) : `${whole} ${unit}`;
  }
  return `${Math.max(0, Math.floor(seconds))} s`;
}
