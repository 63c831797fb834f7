// Fleet: the workers that live, and what waits for them.

import { call } from "./api.js";
import { h, seconds, table } from "./dom.js";

const EVERY_MS = 3000;

export async function fleet({ signal }) {
  const workers = h("div", {});
  const queues = h("div", {});

  async function draw() {
    const [live, waiting] = await Promise.all([call("farm/v1/workers", { signal }), call("farm/v1/queues", { signal })]);
    workers.replaceChildren(live.workers.length
      ? table("Workers", ["name", "card", "class", "mode", "state", "memory of the card", "holds warm", "jobs"], live.workers.map(row))
      : h("p", {}, "No worker lives."));
    const states = Object.entries(waiting.by_state).map(([state, count]) => `${count} ${state}`).join(", ");
    queues.replaceChildren(h("p", {}, states),
      waiting.waiting.length
        ? table("Queues", ["queue", "priority", "waiting", "oldest"], waiting.waiting.map((each) => [each.queue, String(each.priority), String(each.waiting), seconds(each.oldest_s)]))
        : h("p", { class: "quiet" }, "Nothing waits."));
  }

  await draw();
  const timer = setInterval(() => draw().catch(() => {}), EVERY_MS);
  signal.addEventListener("abort", () => clearInterval(timer));
  return h("div", {}, h("h1", {}, "Fleet"), h("h2", {}, "Workers"), workers, h("h2", {}, "Queues"), queues);
}

function row(worker) {
  const used = worker.resources ?? {};
  const total = worker.gpu?.vram_total_bytes;
  const warmth = used.gpu_temperature_c === null || used.gpu_temperature_c === undefined ? "" : `, ${used.gpu_temperature_c} °C`;
  return [
    worker.name, worker.gpu?.name ?? (worker.emulated ? "emulator" : "–"), worker.vram_gib ? `${worker.vram_gib} GiB` : "–",
    worker.load_plan?.mode ?? "–", worker.not_fetching?.length ? worker.not_fetching.join(", ") : worker.state,
    used.vram_used_bytes && total ? `${gib(used.vram_used_bytes)} of ${gib(total)} GiB${warmth}` : "–",
    (worker.warm_models ?? []).join(", ") || "–", worker.jobs ? String(Object.keys(worker.jobs).length) : "–",
  ];
}

function gib(bytes) { return Math.round(bytes / 2 ** 30); }
