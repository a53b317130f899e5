// What is live, what was, and what the server is doing about a new release.

import { $, chip, day, h, version } from "./dom.js";

export function showStatus(status) {
  const { text, kind } = state(status);
  $("state").className = `state ${kind}`;
  $("state-text").textContent = text;
  const facts = [
    ["Live", status.live ?? "none: plain adapters only"],
    ["Base model", status.base_model ?? "–"],
    ["Backbone", version(status.backbone) ?? "none"],
    ["Router", version(status.router) ?? "none"],
    ["Answer by exact name", status.kept?.length ? `releases ${status.kept.join(", ")}` : "–"],
  ];
  if (status.draining?.length) facts.push(["Draining", status.draining.join(", ")]);
  if (status.refusal) {
    const { release, kind: error, reason, at } = status.refusal;
    facts.push(["Last refusal", h("span", { class: "refusal" },
      h("strong", {}, `release ${release ?? "?"}, ${day(at)}: ${error}`), h("br"), reason)]);
  }
  $("release-facts").replaceChildren(
    ...facts.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

export function state(status) {
  const live = status.live === null ? "no release" : `release ${status.live}`;
  if (status.loading !== null && status.loading !== undefined) {
    return { text: `${live} live, ${status.loading} loading`, kind: "busy" };
  }
  if (status.refusal && (status.refusal.release === null || status.refusal.release > (status.live ?? 0))) {
    return { text: `${live} live, ${status.refusal.release ?? "a newer one"} refused`, kind: "bad" };
  }
  return { text: `${live} live`, kind: "good" };
}

export function showHistory(releases, status) {
  const rows = [...releases].sort((a, b) => b.number - a.number).map((release) => h("tr", {},
    h("td", { class: "number" }, String(release.number)),
    h("td", {}, h("time", { datetime: release.created }, day(release.created))),
    h("td", {}, release.note || h("span", { class: "quiet" }, "no note"), h("div", { class: "parts" },
      Object.entries(release.adapters ?? {}).flatMap(([name, value]) => [chip(name), version(value), " "]))),
    h("td", {}, tag(release.number, status))));
  $("history-rows").replaceChildren(...rows);
  $("history-empty").hidden = rows.length > 0;
}

function tag(number, status) {
  const is = (kind) => h("span", { class: `tag ${kind}` }, kind);
  if (number === status.live) return is("live");
  if (number === status.loading) return is("loading");
  if (number === status.refusal?.release) return is("refused");
  if (status.kept?.includes(number)) return is("kept");
  return null;
}
