// Elements, words for numbers, and what the page holds in compressed form. Text only ever becomes text: nothing here
// parses HTML, so no name in a record can become markup.

const SVG = "http://www.w3.org/2000/svg";
const one = (selector, root = document) => root.querySelector(selector);

/** An element with attributes, listeners (`on`), styles (`css`) and children; children that are null, false or empty are left out. */
function make(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same for the elements of an SVG. */
function draw(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else if (name === "css") for (const [key, style] of Object.entries(value)) element.style.setProperty(key, style);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false && child !== ""));
  return element;
}

const LINK = /https?:\/\/[^\s<>"'()[\]{}]*[^\s<>"'()[\]{}.,;:]|\b10\.\d{4,9}\/[^\s,;()]*[^\s,;().]/g;

/** A text in which addresses and DOIs are links; no other scheme becomes one. */
function linked(text) {
  const parts = [];
  let end = 0;
  for (const found of text.matchAll(LINK)) {
    const address = found[0].startsWith("http") ? found[0] : `https://doi.org/${found[0]}`;
    parts.push(text.slice(end, found.index), make("a", { href: address, rel: "noopener noreferrer" }, found[0]));
    end = found.index + found[0].length;
  }
  return [...parts, text.slice(end)];
}

/** Where a name may break: after its signs. */
const BREAKS = /(?<=[_(,=/· -])/;

const grouped = new Intl.NumberFormat("en");

/** A number to so many significant digits, without zeros at the end. */
function figure(value, digits = 6) {
  if (value === null || value === undefined) return "";
  if (Number.isInteger(value) && Math.abs(value) < 1e12) return grouped.format(value);
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-4) return value.toExponential(digits - 1).replace(/\.?0+e/, "e").replace("e+", "e");
  return String(Number(value.toPrecision(digits)));
}

function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds === 0) return "0 s";
  if (seconds < 1e-3) return `${figure(seconds * 1e6, 3)} µs`;
  if (seconds < 1) return `${figure(seconds * 1e3, 3)} ms`;
  if (seconds < 120) return `${figure(seconds, 3)} s`;
  if (seconds < 7200) return `${figure(seconds / 60, 3)} min`;
  return `${figure(seconds / 3600, 3)} h`;
}

function bytes(size) {
  if (size === null || size === undefined) return "";
  const power = size < 1024 ? 0 : Math.min(Math.floor(Math.log2(size) / 10), 4);
  return `${figure(size / 1024 ** power, 3)} ${["B", "KiB", "MiB", "GiB", "TiB"][power]}`;
}

const COSTS = {
  seconds: { words: "seconds", unit: "s", show: duration },
  forwards: { words: "forward passes", unit: "inputs", show: figure },
  backwards: { words: "backward passes", unit: "inputs", show: figure },
  peak_bytes: { words: "peak memory", unit: "bytes", show: bytes },
};

const ARROWS = { higher: "↑", lower: "↓", none: "" };
const BETTER = { higher: "higher is better", lower: "lower is better", none: "not ranked" };

function inflated(id) {
  const text = document.getElementById(id).textContent;
  const packed = Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
  return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate")));
}

let shared = null;

/** An SVG with the paths that it shares with others; the page holds each of them once. */
async function withShared(svg) {
  shared ??= inflated("shared").json();
  const paths = await shared;
  return svg.replace(/<\?shared (\d+)\?>/g, (_, number) => paths[number]);
}

/** The address of an embedded image; as an `img`, an SVG runs no script and loads nothing. */
async function imageAddress(key, kind) {
  const id = `image-${key}`, content = inflated(id);
  const parts = "shares" in document.getElementById(id).dataset ? await withShared(await content.text()) : await content.arrayBuffer();
  const blob = new Blob([parts], { type: kind });
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}

/** Calls once, when no further call came for a while. */
function later(call, wait) {
  let timer = 0;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => call(...given), wait);
  };
}
