// How sure the router was: one bar for each twentieth of confidence, stacked by how the choice came about.

import { $, svg } from "./dom.js";

const BINS = 20, WIDTH = 320, HEIGHT = 120, LEFT = 26, BOTTOM = 16, TOP = 10;
const KINDS = ["fallback", "sticky", "routed"];

export function drawHistogram(decisions) {
  const scored = decisions.filter((decision) => decision.router);
  const bins = Array.from({ length: BINS }, () => ({ routed: 0, sticky: 0, fallback: 0 }));
  for (const { router, path } of scored) {
    bins[Math.min(BINS - 1, Math.floor(router.confidence * BINS))][KINDS.includes(path) ? path : "routed"] += 1;
  }
  const most = Math.max(1, ...bins.map((bin) => bin.routed + bin.sticky + bin.fallback));
  const text = summary(scored);
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": text });
  drawing.append(...axes(most));
  const step = (WIDTH - LEFT) / BINS, scale = (HEIGHT - BOTTOM - TOP) / most;
  bins.forEach((bin, at) => {
    let bottom = HEIGHT - BOTTOM;
    for (const kind of KINDS) {
      const height = bin[kind] * scale;
      if (!height) continue;
      bottom -= height;
      drawing.append(svg("rect", { class: kind, x: LEFT + at * step + 1, y: bottom, width: step - 2, height }));
    }
  });
  $("histogram").replaceChildren(drawing);
  $("histogram-text").textContent = text;
}

function axes(most) {
  const bottom = HEIGHT - BOTTOM;
  const line = (y) => svg("line", { class: "grid", x1: LEFT, x2: WIDTH, y1: y, y2: y });
  const label = (x, y, anchor, text) => svg("text", { x, y, "text-anchor": anchor }, text);
  return [
    line(bottom), line(TOP),
    label(LEFT - 5, TOP + 4, "end", String(most)),
    label(LEFT - 5, bottom + 2, "end", "0"),
    ...[0, 0.25, 0.5, 0.75, 1].map((share) =>
      label(LEFT + share * (WIDTH - LEFT), HEIGHT - 3, share === 0 ? "start" : share === 1 ? "end" : "middle",
        String(share))),
  ];
}

function summary(scored) {
  if (!scored.length) return "The router has decided nothing yet.";
  const sorted = scored.map((decision) => decision.router.confidence).sort((a, b) => a - b);
  const fallbacks = scored.filter((decision) => decision.path === "fallback").length;
  const median = sorted[Math.floor(sorted.length / 2)].toFixed(2);
  return `${scored.length} decisions, median ${median}, ${fallbacks} fell back.`;
}
