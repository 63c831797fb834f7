// The gateway's calls. A key lives in this tab alone.

const KEY = "farm-key";

/** What the gateway refused, as it said it. */
export class Refused extends Error {
  constructor(status, message, details) {
    super(message);
    this.status = status;
    this.details = details;
  }
}

function headers(more = {}) {
  const key = sessionStorage.getItem(KEY);
  return key ? { ...more, Authorization: `Bearer ${key}` } : more;
}

let asking = null;

/** Ask the person for a key; those who ask at once share one question. */
function askForKey() {
  asking ??= new Promise((done) => {
    const dialog = document.getElementById("who");
    document.getElementById("who-refused").hidden = !sessionStorage.getItem(KEY);
    dialog.addEventListener("close", () => {
      sessionStorage.setItem(KEY, dialog.querySelector("input").value.trim());
      dialog.querySelector("input").value = "";
      asking = null;
      done();
    }, { once: true });
    dialog.showModal();
  });
  return asking;
}

/** The JSON that a call answers; `body` makes it a POST. */
export async function call(path, { body, method, signal } = {}) {
  const sent = { method: method ?? (body === undefined ? "GET" : "POST"), signal, headers: headers() };
  if (body !== undefined) {
    sent.headers = headers({ "Content-Type": "application/json" });
    sent.body = JSON.stringify(body);
  }
  const answer = await fetch(path, sent);
  if (answer.status === 401) {
    await askForKey();
    return call(path, { body, method, signal });
  }
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(answer.status, told.error?.message ?? `HTTP ${answer.status}`, told.error?.details);
  return told;
}

/** Upload a file; the asset that it became. */
export async function upload(file) {
  const form = new FormData();
  form.set("file", file);
  form.set("file_path", file.name);
  form.set("content_type", file.type || "application/octet-stream");
  const answer = await fetch("api/v2/assets", { method: "POST", body: form, headers: headers() });
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(answer.status, told.error?.message ?? `HTTP ${answer.status}`);
  return told;
}

/** Live events of a job: an async iterator of [name, data]. */
export async function* events(jobId, signal) {
  const answer = await fetch(`api/v2/jobs/${jobId}/events`, { headers: headers(), signal });
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
      if (found) yield [found[1], JSON.parse(found[2])];
    }
  }
}
