// Fleet: the workers that live, and what waits for them.

import { call } from "./api.js";
import { h, notice, seconds, table } from "./dom.js";

const EVERY_MS = 3000;
const SHOWN = 10;

export async function fleet({ signal }) {
  const workers = h("div", {});
  const queues = h("div", {});
  const first = h("div", {});

  async function draw() {
    const [live, waiting] = await Promise.all([call("farm/v1/workers", { signal }), call("farm/v1/queues", { signal })]);
    workers.replaceChildren(live.workers.length
      ? table("Workers", ["name", "card", "class", "mode", "state", "memory of the card", "holds warm", "jobs", ...(live.may_steer ? ["order"] : [])],
        live.workers.map((worker) => [...row(worker), ...(live.may_steer ? [order(worker)] : [])]))
      : h("p", {}, "No worker lives."));
    const states = Object.entries(waiting.by_state).map(([state, count]) => `${count} ${state}`).join(", ");
    queues.replaceChildren(h("p", {}, states),
      waiting.waiting.length
        ? table("Queues", ["queue", "priority", "waiting", "oldest"], waiting.waiting.map((each) => [each.queue, String(each.priority), String(each.waiting), seconds(each.oldest_s)]))
        : h("p", { class: "quiet" }, "Nothing waits."));
  }

  async function steer(worker, verb) {
    try {
      await call(`farm/v1/workers/${encodeURIComponent(worker.name)}/${verb}`, { method: "POST" });
      notice(verb === "drain" ? `${worker.name} fetches nothing more.` : `${worker.name} fetches again.`);
      await draw();
    } catch (error) {
      notice(error.message);
    }
  }

  function order(worker) {
    const verb = (worker.not_fetching ?? []).includes("drained") ? "resume" : "drain";
    return h("button", { type: "button", "aria-label": `${verb} ${worker.name}`, onclick: () => steer(worker, verb) }, verb === "drain" ? "Drain" : "Resume");
  }

  // What waits for what, of the caller's own jobs: asked once, for it takes a call for each.
  async function why() {
    const { jobs } = await call(`farm/v1/jobs?state=queued&limit=${SHOWN}`, { signal });
    const reasons = await Promise.all(jobs.map((each) => call(`farm/v1/jobs/${each.job_id}/why_waiting`, { signal }).then((told) => told.reasons.join(" "), () => "–")));
    if (jobs.length) first.replaceChildren(h("h2", {}, "What waits for what"), table("What waits for what", ["job", "why"], jobs.map((each, at) => [link(each.job_id, each.title), reasons[at]])));
  }

  await draw();
  why().catch(() => {});
  const timer = setInterval(() => draw().catch(() => {}), EVERY_MS);
  signal.addEventListener("abort", () => clearInterval(timer));
  return h("div", {}, h("h1", {}, "Fleet"), h("h2", {}, "Workers"), workers, h("h2", {}, "Queues"), queues, first);
}

function row(worker) {
  const used = worker.resources ?? {};
  const total = worker.gpu?.vram_total_bytes;
  const warmth = used.gpu_temperature_c === null || used.gpu_temperature_c === undefined ? "" : `, ${used.gpu_temperature_c} °C`;
  return [
    worker.name, worker.gpu?.name ?? (worker.emulated ? "emulator" : "–"), worker.vram_gib ? `${worker.vram_gib} GiB` : "–",
    worker.load_plan?.mode ?? "–", worker.not_fetching?.length ? worker.not_fetching.join(", ") : worker.state,
    used.vram_used_bytes && total ? `${gib(used.vram_used_bytes)} of ${gib(total)} GiB${warmth}` : "–",
    (worker.warm_models ?? []).join(", ") || "–", worker.jobs ? h("span", {}, ...Object.keys(worker.jobs).map((id) => link(id, id.slice(0, 8)))) : "–",
  ];
}

function link(id, words) { return h("a", { href: `#/job/${id}` }, words); }

function gib(bytes) { return Math.round(bytes / 2 ** 30); }
