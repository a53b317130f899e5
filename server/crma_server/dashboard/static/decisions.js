// The routing decisions as they happen: the stream, the table and its histogram.

import { adminStream, events, KeyError, keys } from "./api.js";
import { $, chip, clock, h, meter, seconds, version } from "./dom.js";
import { drawHistogram } from "./histogram.js";
import { showOnMap } from "./map.js";

const KEPT = 200;
let decisions = [];
let paused = false;
let unseen = 0;
let drawing = false;
let current = null;
const opened = new Set();

export function startDecisions(onKeyError) {
  $("decision-filter").addEventListener("change", draw);
  $("pause").addEventListener("click", () => {
    paused = !paused;
    unseen = 0;
    $("pause").setAttribute("aria-pressed", String(paused));
    draw();
  });
  draw();
  drawHistogram(decisions);
  showOnMap(decisions);
  return () => connect(onKeyError);
}

async function connect(onKeyError) {
  current?.abort();
  const controller = (current = new AbortController());
  if (!keys.admin) return say("needs the admin key");
  for (let wait = 1; !controller.signal.aborted; wait = Math.min(wait * 2, 15)) {
    try {
      const last = decisions.at(-1)?.id ?? 0;
      const reply = await adminStream("crma/v1/decisions", { "last-event-id": String(last) }, controller.signal);
      say("live");
      for await (const { data } of events(reply)) {
        wait = 1;
        if (data !== null) take(JSON.parse(data));
      }
    } catch (error) {
      if (controller.signal.aborted) return;
      if (error instanceof KeyError) {
        say("needs the admin key");
        return onKeyError(error);
      }
    }
    if (controller.signal.aborted) return;
    say(`lost, again in ${wait} s`);
    await new Promise((resolve) => setTimeout(resolve, wait * 1000));
  }
}

function say(text) {
  $("stream-state").textContent = text;
  $("stream-state").classList.toggle("live", text === "live");
}

function take(decision) {
  // Ids begin anew with the server.
  if (decisions.length && decision.id <= decisions.at(-1).id) decisions = [];
  decisions.push(decision);
  if (decisions.length > KEPT) decisions.splice(0, decisions.length - KEPT);
  if (paused) unseen += 1;
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    if (!paused) draw();
    else pauseLabel();
    drawHistogram(decisions);
    showOnMap(decisions);
  });
}

function pauseLabel() {
  $("pause").textContent = paused ? `Go on${unseen ? ` (${unseen} new)` : ""}` : "Pause";
}

function draw() {
  pauseLabel();
  const wanted = $("decision-filter").value;
  const shown = decisions.filter((decision) => !wanted || decision.path === wanted).reverse();
  const focused = document.activeElement?.dataset?.decision;
  $("decision-rows").replaceChildren(...shown.flatMap(rows));
  $("decision-empty").hidden = shown.length > 0;
  $("decision-empty").textContent = decisions.length ? "None of this kind." : "No decisions yet.";
  // New rows come in above: who is reading one with the keyboard stays on it.
  if (focused) $("decision-rows").querySelector(`[data-decision="${focused}"]`)?.focus({ preventScroll: true });
}

function rows(decision) {
  const open = opened.has(decision.id);
  const detailId = `decision-${decision.id}`;
  const confidence = decision.router?.confidence;
  const toggle = h("button", {
    type: "button", class: "small", "aria-expanded": String(open), "aria-controls": detailId,
    "data-decision": decision.id, "aria-label": `Details of decision ${decision.id}`,
    onclick: () => {
      if (!opened.delete(decision.id)) opened.add(decision.id);
      draw();
    },
  }, open ? "−" : "+");
  const row = h("tr", { class: open ? "open" : null },
    h("td", { "data-label": "Time" }, h("time", { datetime: decision.at }, clock(decision.at))),
    h("td", { "data-label": "Answered by" }, chip(decision.adapter), " ", version(decision.version),
      decision.canary ? h("span", { class: "tag canary" }, "canary") : null),
    h("td", { "data-label": "How" }, h("span", { class: `tag ${decision.path}` }, decision.path)),
    h("td", { "data-label": "Confidence", class: "confidence" }, confidence === undefined ? "–"
      : [meter(confidence, `confidence ${confidence.toFixed(2)}`, decision.path), confidence.toFixed(2)]),
    h("td", { "data-label": "Took", class: "number" }, seconds(decision.seconds)),
    h("td", { class: "more" }, toggle));
  return open ? [row, detail(decision, detailId)] : [row];
}

function detail(decision, id) {
  const router = decision.router;
  const scores = Object.entries(router?.scores ?? {}).sort((a, b) => b[1] - a[1]);
  const facts = [
    ["Why", decision.reason],
    ["Asked for", decision.asked],
    ["Release", decision.release ?? "–"],
    ["CRMA", decision.backbone ? version(decision.backbone) : "off"],
    ["Known by", decision.session ?? "–"],
    ["Request", h("code", {}, decision.request_id)],
  ];
  if (router) {
    const inside = router.ood_distance <= router.ood_threshold ? "inside" : "outside";
    facts.splice(1, 0, ["Distance",
      `${router.ood_distance.toFixed(2)}, up to ${router.ood_threshold.toFixed(2)} is inside: ${inside}`]);
  }
  const bars = scores.map(([name, score]) => h("li", {}, chip(name),
    meter(score, `${name} ${score.toFixed(2)}`), h("span", { class: "number" }, score.toFixed(2))));
  return h("tr", { class: "detail", id }, h("td", { colspan: 6 },
    h("div", { class: "detail-box" },
      scores.length ? h("ul", { class: "scores", "aria-label": "Scores" }, bars) : null,
      h("dl", { class: "facts" }, facts.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])))));
}
