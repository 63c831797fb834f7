// Fleet: the workers that live, and what waits for them.

import { call } from "./api.js";
import { h, notice, pause, seconds, table } from "./dom.js";

const EVERY_MS = 3000;
const WHY_ROUNDS = 5;
const SHOWN = 10;

export async function fleet({ signal }) {
  const workers = h("div", {});
  const queues = h("div", {});
  const first = h("div", {});
  let last = "";  // what was shown: a table that did not change keeps its focus

  async function draw() {
    const [live, waiting] = await Promise.all([call("farm/v1/workers", { signal }), call("farm/v1/queues", { signal })]);
    const now = JSON.stringify([live, waiting]);
    if (now === last) return;
    last = now;
    const held = document.activeElement?.getAttribute("aria-label");
    const heads = ["name", "card", "class", "mode", "state", "memory of the card", "holds warm", "jobs", ...(live.may_steer ? ["order"] : [])];
    workers.replaceChildren(live.workers.length
      ? table("Workers", heads, live.workers.map((worker) => [...row(worker), ...(live.may_steer ? [order(worker)] : [])]))
      : h("p", {}, "No worker lives."));
    const states = Object.entries(waiting.by_state).map(([state, count]) => `${count.toLocaleString()} ${state}`).join(", ");
    queues.replaceChildren(h("p", {}, states), waiting.parked ? h("p", {}, `${waiting.parked.toLocaleString()} of the queued fit no worker that lives.`) : "",
      waiting.waiting.length
        ? table("Queues", ["class", "priority", "waiting", "the oldest for"], waiting.waiting.map((each) => [classOf(each.queue), String(each.priority), each.waiting.toLocaleString(), seconds(each.oldest_s)]))
        : h("p", { class: "quiet" }, "Nothing waits."));
    if (held) [...workers.querySelectorAll("[aria-label]")].find((each) => each.getAttribute("aria-label") === held)?.focus();
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

  // What waits for what, of the caller's own jobs; a call for each, so now and then alone.
  async function why() {
    const { jobs } = await call(`farm/v1/jobs?state=queued&limit=${SHOWN}`, { signal });
    const reasons = await Promise.all(jobs.map((each) => call(`farm/v1/jobs/${each.job_id}/why_waiting`, { signal }).then((told) => told.reasons.join(" "), () => "–")));
    first.replaceChildren(...(jobs.length ? [h("h2", {}, "What waits for what"), table("What waits for what", ["job", "why"], jobs.map((each, at) => [link(each.job_id, each.title), reasons[at]]))] : []));
  }

  async function follow() {
    for (let round = 0; ; round += 1) {
      if (!document.hidden) {
        await draw();
        if (round % WHY_ROUNDS === 0) await why();
      }
      await pause(EVERY_MS, signal);
    }
  }

  await draw();
  follow().catch((error) => { if (!signal.aborted) notice(error.message); });
  return h("div", {}, h("h1", {}, "Fleet"), h("h2", {}, "Workers"), workers, h("h2", {}, "Queues"), queues, first);
}

function row(worker) {
  const used = worker.resources ?? {};
  const total = worker.gpu?.vram_total_bytes;
  const memory = used.vram_used_bytes && total ? `${gib(used.vram_used_bytes)} of ${gib(total)} GiB` : null;
  const warmth = (used.gpu_temperature_c ?? null) === null ? null : `${used.gpu_temperature_c} °C`;
  return [
    worker.name, worker.gpu?.name || (worker.emulated ? "emulator" : "–"), worker.vram_gib ? `${worker.vram_gib} GiB` : "–",
    worker.load_plan?.mode || "–", worker.not_fetching?.length ? worker.not_fetching.join(", ").replaceAll("_", " ") : worker.state,
    [memory, warmth].filter(Boolean).join(", ") || "–",
    worker.warm_models?.length ? h("ul", {}, worker.warm_models.map((each) => h("li", {}, each.replace(/^.*[/]/, "")))) : "–",
    Object.keys(worker.jobs ?? {}).length ? h("span", {}, Object.keys(worker.jobs).flatMap((id) => [link(id, id.slice(0, 12)), " "])) : "–",
  ];
}

function classOf(queue) { return `${queue.replace(/^.*\./, "")} GiB`; }

function link(id, words) { return h("a", { href: `#/job/${id}` }, words); }

function gib(bytes) { return Math.round(bytes / 2 ** 30); }
