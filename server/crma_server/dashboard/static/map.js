// The router's examples in two dimensions, and where the last decisions fell among them.

import { adminJson } from "./api.js";
import { $, chip, colourOf, h, svg } from "./dom.js";

const SIZE = 320, PAD = 8, LAST = 40;
let drawnFor = null; // the router it was read for
let known = { domains: [], points: [] };
let decisions = [];

export async function lookAtMap(router) {
  if (router === drawnFor) return;
  known = router ? await adminJson("crma/v1/map") : { domains: [], points: [] };
  drawnFor = router;
  draw();
}

export function showOnMap(last) {
  decisions = last;
  draw();
}

function draw() {
  const placed = decisions.filter((decision) => decision.router?.place).slice(-LAST);
  const text = known.points.length
    ? `${known.points.length} examples of ${known.domains.length} kinds, and the last ${placed.length} decisions.`
    : "The router has no map.";
  const scale = scaleOf([...known.points, ...placed.map((decision) => decision.router.place)]);
  const drawing = svg("svg", { viewBox: `0 0 ${SIZE} ${SIZE}`, role: "img", "aria-label": text });
  for (const [x, y, kind] of known.points) {
    const [cx, cy] = scale(x, y);
    drawing.append(svg("circle", { class: `example ${colourOf(known.domains[kind])}`, cx, cy, r: 1.6 }));
  }
  for (const decision of placed) {
    const [cx, cy] = scale(...decision.router.place);
    const mark = svg("circle", { class: `decided ${colourOf(decision.router.domain)}`, cx, cy, r: 5 });
    mark.append(svg("title", {}, `${decision.router.domain ?? "none"}: ${decision.reason}`));
    drawing.append(mark);
  }
  $("map").replaceChildren(drawing);
  $("map-legend").replaceChildren(
    ...known.domains.map((name) => h("li", {}, name ? chip(name) : h("span", { class: "chip plain" }, "none"))));
  $("map-text").textContent = text;
}

function scaleOf(points) {
  const xs = points.map(([x]) => x), ys = points.map(([, y]) => y);
  const left = Math.min(...xs), low = Math.min(...ys);
  const span = Math.max(Math.max(...xs) - left, Math.max(...ys) - low) || 1;
  const place = (value) => PAD + (value * (SIZE - 2 * PAD)) / span;
  return (x, y) => [place(x - left).toFixed(1), (SIZE - place(y - low)).toFixed(1)];
}
