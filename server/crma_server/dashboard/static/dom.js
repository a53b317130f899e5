// Building elements, and how numbers, times and versions look. Text is only ever set as text.

export const $ = (id) => document.getElementById(id);

export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const COLOURS = 8;
const taken = new Map();

// Each domain keeps one colour while the page is open; the base model and the backbone have none.
export function colourOf(name) {
  if (!name || name === "base" || name === "backbone") return "plain";
  if (!taken.has(name)) taken.set(name, taken.size % COLOURS);
  return `d${taken.get(name)}`;
}

export const chip = (name) => h("span", { class: `chip ${colourOf(name)}` }, name);

export const version = (value) => (value ? h("code", { class: "version", title: value }, value.slice(0, 7)) : null);

export function meter(share, label, kind = "") {
  const bar = h("span", { class: `bar ${kind}` });
  bar.style.inlineSize = `${Math.max(0, Math.min(1, share)) * 100}%`;
  return h("span", { class: "meter", role: "img", "aria-label": label }, bar);
}

export function seconds(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (value < 0.001) return "<1 ms";
  if (value < 1) return `${(value * 1000).toFixed(value < 0.01 ? 1 : 0)} ms`;
  return `${value.toFixed(value < 10 ? 2 : 0)} s`;
}

export function count(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (value < 10_000) return String(Math.round(value));
  return new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 }).format(value);
}

export const percent = (share) =>
  `${(share * 100).toFixed(share !== 0 && Math.abs(share) < 0.1 ? 1 : 0)} %`;

export const clock = (iso) => new Date(iso).toLocaleTimeString([], { hour12: false });

export const day = (iso) =>
  new Date(iso).toLocaleString([], { dateStyle: "medium", timeStyle: "short", hour12: false });
