// The gateway's calls. A key lives in this tab alone. What is away is told, and asked again until it is back.

import { away, pause } from "./dom.js";
import { read, write } from "./exact.js";

const KEY = "farm-key";
const AGAIN_MS = 2000;
const PASSING = [429, 502, 503, 504];  // of a question, that is worth to be asked again

/** What the gateway refused, as it said it. */
export class Refused extends Error {
  constructor(status, message, details) {
    super(message);
    this.status = status;
    this.details = details;
  }
}

function headers() {
  const key = sessionStorage.getItem(KEY);
  return key ? { Authorization: `Bearer ${key}` } : {};
}

let asking = null;

/** Ask the person for a key; those who ask at once share one question. */
function askForKey() {
  asking ??= new Promise((done) => {
    const dialog = document.getElementById("who");
    const input = dialog.querySelector("input");
    document.getElementById("who-refused").hidden = !sessionStorage.getItem(KEY);
    dialog.addEventListener("close", () => {
      sessionStorage.setItem(KEY, input.value.trim());
      input.value = "";
      asking = null;
      done();
    }, { once: true });
    dialog.showModal();
  });
  return asking;
}

/** Ask for a key at once where the farm lets nobody in without one. */
export async function enter() {
  if (sessionStorage.getItem(KEY)) return;
  const { needs_key: needed } = await call("farm/v1/entry");
  // It may have been given while that was asked.
  if (needed && !sessionStorage.getItem(KEY)) await askForKey();
}

/** An answer, whatever it says, but that of a key which is not known. */
async function ask(path, sent) {
  for (;;) {
    const key = sessionStorage.getItem(KEY);
    const answer = await fetch(path, { ...sent, headers: { ...sent.headers, ...headers() } });
    if (answer.status !== 401) return answer;
    // Another call may have asked for a key meanwhile.
    if (key === sessionStorage.getItem(KEY)) await askForKey();
  }
}

async function taken(answer) {
  const told = read((await answer.text()) || "{}");
  if (!answer.ok) throw new Refused(answer.status, told.error?.message ?? `HTTP ${answer.status}`, told.error?.details);
  return told;
}

/** The JSON that a call answers; `body` makes it a POST. Only a question is asked again, an order is given once. */
export async function call(path, { body, method, signal } = {}) {
  const sent = { method: method ?? (body === undefined ? "GET" : "POST"), signal, headers: {} };
  if (body !== undefined) {
    sent.headers["Content-Type"] = "application/json";
    sent.body = write(body);
  }
  try {
    for (;;) {
      try {
        return await taken(await ask(path, sent));
      } catch (error) {
        if (signal?.aborted || sent.method !== "GET" || !passing(error)) throw error;
        away(path, error instanceof Refused ? error.message : "the gateway does not answer");
        await pause(AGAIN_MS, signal);
      }
    }
  } finally {
    away(path, null);
  }
}

function passing(error) {
  return error instanceof Refused ? PASSING.includes(error.status) : error instanceof TypeError || error instanceof SyntaxError;
}

/** Upload a file; the asset that it became. */
export async function upload(file) {
  const form = new FormData();
  form.set("file", file);
  form.set("file_path", file.name);
  form.set("content_type", file.type || "application/octet-stream");
  return taken(await ask("api/v2/assets", { method: "POST", body: form }));
}

/** An address that a picture or a clip can be had at: what the gateway itself gives out takes the key. */
export async function media(address, signal) {
  if (!address || new URL(address, location).origin !== location.origin || !sessionStorage.getItem(KEY)) return address;
  const answer = await ask(address, { signal });
  if (!answer.ok) throw new Refused(answer.status, `HTTP ${answer.status}`);
  const made = URL.createObjectURL(await answer.blob());
  signal?.addEventListener("abort", () => URL.revokeObjectURL(made));
  return made;
}

/** Live events of a job: an async iterator of [name, data]. */
export async function* events(jobId, signal) {
  const answer = await ask(`api/v2/jobs/${jobId}/events`, { signal });
  if (!answer.ok) throw new Refused(answer.status, `HTTP ${answer.status}`);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const frames = text.split("\n\n");
    text = frames.pop();
    for (const frame of frames) {
      const found = /^event: (\S+)\ndata: (.*)$/s.exec(frame);
      if (found) yield [found[1], read(found[2])];
    }
  }
}
