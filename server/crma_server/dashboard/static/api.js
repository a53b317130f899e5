// Talking to the server: which key goes where, and reading streams of events.

const ADMIN = "crma-admin-key";
const INFERENCE = "crma-inference-key";

export class KeyError extends Error {
  constructor(kind) {
    super(kind === "admin" ? "The server wants its admin key." : "The server wants an inference key.");
    this.kind = kind;
  }
}

export const keys = {
  get admin() { return sessionStorage.getItem(ADMIN) ?? ""; },
  get inference() { return sessionStorage.getItem(INFERENCE) ?? ""; },
  set(admin, inference) {
    for (const [name, value] of [[ADMIN, admin], [INFERENCE, inference]]) {
      if (value) sessionStorage.setItem(name, value);
      else sessionStorage.removeItem(name);
    }
  },
};

// The page may stand behind a path of a proxy, so every address is relative to its own.
const address = (path) => new URL(path, document.baseURI);

const withKey = (kind, headers = {}) =>
  keys[kind] ? { ...headers, authorization: `Bearer ${keys[kind]}` } : headers;

async function ask(kind, path, options = {}) {
  const { headers, ...rest } = options;
  const reply = await fetch(address(path), { cache: "no-store", ...rest, headers: withKey(kind, headers) });
  if (reply.status === 401 || reply.status === 403) throw new KeyError(kind);
  if (!reply.ok) throw new Error(await complaint(reply));
  return reply;
}

async function complaint(reply) {
  const text = await reply.text();
  try {
    const document = JSON.parse(text);
    return document.error?.message ?? document.detail ?? text;
  } catch {
    return text.slice(0, 300) || `the server answered ${reply.status}`;
  }
}

export const adminJson = async (path) => (await ask("admin", path)).json();
export const metricsText = async () =>
  (await ask(keys.admin ? "admin" : "inference", "metrics")).text();
export const models = async () => (await (await ask("inference", "v1/models")).json()).data;

export const adminStream = (path, headers, signal) =>
  ask("admin", path, { headers: { accept: "text/event-stream", ...headers }, signal });

export const chat = (body, headers, signal) =>
  ask("inference", "v1/chat/completions", {
    method: "POST",
    body: JSON.stringify(body),
    headers: { "content-type": "application/json", ...headers },
    signal,
  });

// The events of a reply as they come: {id, data}. Comments come as an event without data.
export async function* events(reply) {
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const blocks = (rest + value).replaceAll("\r\n", "\n").split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) yield event(block);
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function event(block) {
  const found = { id: null, data: null };
  for (const line of block.split("\n")) {
    const at = line.indexOf(":");
    if (at <= 0) continue;
    const value = line.slice(at + 1).replace(/^ /, "");
    if (line.slice(0, at) === "data") found.data = found.data === null ? value : `${found.data}\n${value}`;
    else if (line.slice(0, at) === "id") found.id = value;
  }
  return found;
}
