// Chats with the server, once with CRMA and once without, side by side.

import { chat, events, KeyError, models } from "./api.js";
import { $, chip, h, seconds, version } from "./dom.js";

const OFF = ":crma-off";
let session = newSession();
let sides = [];
let current = null;

export function startPlayground(onKeyError) {
  layOut();
  $("compare").addEventListener("change", layOut);
  $("crma-on").addEventListener("change", layOut);
  $("clear").addEventListener("click", layOut);
  $("model").addEventListener("change", layOut);
  $("stop").addEventListener("click", () => current?.abort());
  $("prompt").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      $("ask").requestSubmit();
    }
  });
  $("playground").addEventListener("keydown", (event) => {
    if (event.key === "Escape") current?.abort();
  });
  $("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    send(onKeyError);
  });
}

// The names worth offering: aliases and the base model, no versions.
export async function offerModels() {
  const names = (await models()).map((model) => model.id).filter((id) => !id.includes("@") && !id.endsWith(OFF));
  const chosen = $("model").value;
  $("model").replaceChildren(...names.map((name) => h("option", { selected: name === chosen }, name)));
}

function newSession() {
  return `playground-${crypto.getRandomValues(new Uint32Array(2)).join("-")}`;
}

// A change of what answers begins a new chat: no side should see what another model said.
function layOut() {
  current?.abort();
  session = newSession();
  const compare = $("compare").checked;
  $("crma-on").disabled = compare;
  const kinds = compare ? ["on", "off"] : [$("crma-on").checked ? "on" : "off"];
  sides = kinds.map(side);
  $("sides").classList.toggle("one", !compare);
  $("sides").replaceChildren(...sides.map((each) => each.element));
}

function side(kind) {
  const by = h("p", { class: "by quiet" }, "nothing asked yet");
  const log = h("div", { class: "log", role: "log", "aria-live": "polite", tabindex: "0",
    "aria-label": `Chat with CRMA ${kind}` });
  const element = h("section", { class: `side ${kind}`, "aria-label": `CRMA ${kind}` },
    h("header", {}, h("h3", {}, `CRMA ${kind}`), by), log);
  return { kind, by, log, element, messages: [] };
}

async function send(onKeyError) {
  const text = $("prompt").value.trim();
  if (!text || current) return;
  current = new AbortController();
  $("prompt").value = "";
  $("send").disabled = true;
  $("stop").hidden = false;
  const signal = current.signal;
  const ended = await Promise.allSettled(sides.map((each) => answer(each, text, signal)));
  current = null;
  $("send").disabled = false;
  $("stop").hidden = true;
  const refused = ended.find((each) => each.reason instanceof KeyError);
  if (refused) onKeyError(refused.reason);
  else $("prompt").focus();
}

async function answer(each, text, signal) {
  const said = h("p", { class: "said" }, text);
  const words = h("div", { class: "words" });
  const stats = h("p", { class: "stats quiet" }, "waiting");
  each.log.append(said, h("div", { class: "reply" }, words, stats));
  each.log.scrollTop = each.log.scrollHeight;
  each.element.setAttribute("aria-busy", "true");
  const messages = [...each.messages, { role: "user", content: text }];
  const run = { words: "", tokens: null, startMs: performance.now(), firstMs: null };
  try {
    await stream(each, messages, run, words, signal);
    each.messages = [...messages, { role: "assistant", content: run.words }];
    stats.textContent = told(run);
  } catch (error) {
    const stopped = signal.aborted;
    stats.textContent = stopped ? `stopped after ${told(run)}` : error.message;
    stats.classList.toggle("error", !stopped);
    if (!stopped) throw error;
  } finally {
    each.element.removeAttribute("aria-busy");
  }
}

async function stream(each, messages, run, words, signal) {
  const model = $("model").value + (each.kind === "off" ? OFF : "");
  const body = {
    model, messages, stream: true, stream_options: { include_usage: true },
    max_tokens: Number($("max-tokens").value) || 256,
  };
  const reply = await chat(body, { "x-session-id": session, "x-crma-debug": "true" }, signal);
  let ended = false;
  for await (const { data } of events(reply)) {
    if (data === null) continue;
    if (data === "[DONE]") { ended = true; continue; }
    const chunk = JSON.parse(data);
    if (chunk.error) throw new Error(chunk.error.message ?? "the server gave up");
    if (chunk.crma) showWho(each, chunk.crma);
    if (chunk.usage) run.tokens = chunk.usage.completion_tokens;
    const piece = chunk.choices?.[0]?.delta?.content;
    if (!piece) continue;
    run.firstMs ??= performance.now();
    run.words += piece;
    const atEnd = each.log.scrollHeight - each.log.scrollTop - each.log.clientHeight < 40;
    words.textContent = run.words;
    if (atEnd) each.log.scrollTop = each.log.scrollHeight;
  }
  if (!ended) throw new Error("the answer broke off");
}

function showWho(each, crma) {
  const parts = [chip(crma.adapter), version(crma.version), h("span", { class: `tag ${crma.path}` }, crma.path)];
  if (crma.confidence !== null && crma.confidence !== undefined) {
    parts.push(h("span", {}, `confidence ${crma.confidence.toFixed(2)}`));
  }
  parts.push(h("span", {}, crma.backbone ? "with CRMA" : "no CRMA"));
  each.by.title = crma.reason ?? "";
  each.by.replaceChildren(...parts.filter(Boolean).flatMap((part) => [part, " "]));
}

function told(run) {
  const endMs = performance.now();
  const parts = [];
  if (run.firstMs !== null) parts.push(`first token ${seconds((run.firstMs - run.startMs) / 1000)}`);
  if (run.tokens && run.firstMs !== null) {
    parts.push(`${run.tokens} tokens`);
    if (run.tokens > 1) {
      parts.push(`${(((run.tokens - 1) * 1000) / Math.max(1, endMs - run.firstMs)).toFixed(1)} tokens/s`);
    }
  }
  return parts.join(", ") || seconds((endMs - run.startMs) / 1000);
}
