// One card for each adapter: what it is, what it was trained on, and what its versions did.

import { chip, count, h, percent, seconds, version } from "./dom.js";
import { quantile } from "./metrics.js";

export function adapterCards(adapters, versions) {
  return adapters.map((adapter) => h("article", { class: "card", "aria-label": adapter.name },
    h("header", {}, h("h3", {}, chip(adapter.name)), h("p", { class: "quiet" }, subtitle(adapter))),
    versionTable(adapter, versions),
    adapter.card ? facts(adapter.card, adapter.drift) : null));
}

function subtitle(adapter) {
  if (adapter.plain) return "a plain LoRA, served as it is";
  return adapter.canary ? `a canary answers ${percent(adapter.canary.weight)} of its sessions` : null;
}

function versionTable(adapter, versions) {
  const of = (value) => versions.get(`${adapter.name}@${value ?? ""}`);
  const rows = [{ version: adapter.version, role: "live" }];
  if (adapter.canary) rows.push({ version: adapter.canary.version, role: "canary" });
  for (const kept of adapter.kept ?? []) {
    if (of(kept)?.answers) rows.push({ version: kept, role: "earlier" });
  }
  return h("div", { class: "table-box plain" }, h("table", { class: "versions" },
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Version"),
      ...["Answers", "Tokens", "Now", "First token", "Answer"].map((title) =>
        h("th", { scope: "col", class: "number" }, title)))),
    h("tbody", {}, rows.map((row) => versionRow(row, of(row.version))))));
}

function versionRow({ version: name, role }, did) {
  const pair = (label, histogram) => did
    ? cell(label, seconds(quantile(histogram, 0.5)),
      h("small", { title: "95 of 100 within" }, seconds(quantile(histogram, 0.95))))
    : cell(label, "–");
  const unfinished = did?.unfinished ? h("small", { title: "not finished" }, `${count(did.unfinished)} cut`) : null;
  return h("tr", {},
    h("th", { scope: "row" }, version(name), h("span", { class: `tag ${role}` }, role)),
    cell("Answers", count(did?.answers ?? 0), unfinished),
    cell("Tokens", count(did?.written ?? 0)),
    cell("Now", count(did?.inFlight ?? 0)),
    pair("First token", did?.firstToken), pair("Answer", did?.answer));
}

const cell = (label, ...content) => h("td", { class: "number", "data-label": label }, content);

function facts(card, drift) {
  const gain = card.holdout_loss.base ? 1 - card.holdout_loss.after / card.holdout_loss.base : 0;
  const entries = [
    ["Held-out loss", `${card.holdout_loss.base.toFixed(2)} → ${card.holdout_loss.after.toFixed(2)} (${
      gain >= 0 ? "−" : "+"}${percent(Math.abs(gain))})`],
    ["Trained on", `${count(card.data.rows_train)} rows, ${card.data.sources.join(", ")}`],
    ["Licences", card.data.licences.join(", ")],
    ["LoRA", `rank ${card.rank}, ${count(card.training.steps)} steps`],
    ["Backbone", card.backbone ? version(card.backbone) : "none"],
  ];
  if (drift !== null && drift !== undefined) entries.push(["Drift", percent(drift)]);
  return h("dl", { class: "facts" }, entries.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}
