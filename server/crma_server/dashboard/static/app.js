// Starts the page, asks for keys when they are needed, and looks again every few seconds while it is seen.

import { adapterCards } from "./adapters.js";
import { adminJson, KeyError, keys, metricsText } from "./api.js";
import { startDecisions } from "./decisions.js";
import { $, h } from "./dom.js";
import { lookAtMap } from "./map.js";
import { parse, traffic } from "./metrics.js";
import { offerModels, startPlayground } from "./playground.js";
import { showHistory, showStatus } from "./release.js";

const LOOK_MS = 3000;
let adapters = [];
let adaptersOf = null; // the release they were read for
let versions = new Map();

function notice(text) {
  $("notice").textContent = text;
  $("notice").hidden = !text;
}

function askForKeys(error) {
  $("keys-reason").textContent = error
    ? `${error.message} What you type stays in this tab and is forgotten when it closes.`
    : "They stay in this tab and are forgotten when it closes.";
  $("admin-key").value = keys.admin;
  $("inference-key").value = keys.inference;
  if (!$("keys").open) $("keys").showModal();
  $(error?.kind === "inference" ? "inference-key" : "admin-key").focus();
}

const connectDecisions = startDecisions(askForKeys);
startPlayground(askForKeys);

$("open-keys").addEventListener("click", () => askForKeys(null));
$("close-keys").addEventListener("click", () => $("keys").close());
$("forget-keys").addEventListener("click", () => useKeys("", ""));
$("keys-form").addEventListener("submit", (event) => {
  event.preventDefault();
  useKeys($("admin-key").value.trim(), $("inference-key").value.trim());
});

function useKeys(admin, inference) {
  keys.set(admin, inference);
  $("keys").close();
  adaptersOf = null;
  connectDecisions();
  look();
  findModels();
}

async function findModels() {
  try {
    await offerModels();
  } catch (error) {
    if (!(error instanceof KeyError)) notice(`The model list cannot be had: ${error.message}`);
  }
}

async function look() {
  if (!keys.admin) {
    $("state-text").textContent = "needs the admin key";
    return;
  }
  try {
    const status = await adminJson("crma/v1/status");
    showStatus(status);
    showHistory(status.history ?? [], status);
    await lookAtAdapters(status);
    await lookAtMap(status.router ?? null);
    notice("");
  } catch (error) {
    $("state").className = "state bad";
    if (error instanceof KeyError) {
      $("state-text").textContent = "the key is refused";
      keys.set("", keys.inference);
      askForKeys(error);
    } else {
      $("state-text").textContent = "out of reach";
      notice(`The server does not answer as it should: ${error.message}`);
    }
  }
}

async function lookAtAdapters(status) {
  const state = JSON.stringify([status.live, status.kept, status.loading]);
  if (state !== adaptersOf) {
    adapters = (await adminJson("crma/v1/adapters")).adapters;
    adaptersOf = state;
    findModels();
  }
  versions = traffic(parse(await metricsText()));
  const cards = adapterCards(adapters, versions);
  $("adapter-list").replaceChildren(...(cards.length ? cards : [h("p", { class: "empty" }, "The store has none.")]));
}

setInterval(() => {
  if (document.visibilityState === "visible" && keys.admin) look();
}, LOOK_MS);

// The link that the server prints at its start brings the key, behind the # that is sent to nobody.
function takeKeyFromLink() {
  const given = new URLSearchParams(location.hash.slice(1)).get("key");
  if (!given) return;
  keys.set(given, keys.inference);
  history.replaceState(null, "", location.pathname + location.search);
}

takeKeyFromLink();
connectDecisions();
look();
findModels();
if (!keys.admin) askForKeys(null);
