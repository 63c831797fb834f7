// One job: live while it goes on, then the clip; what was asked, what was tried.

import { call, events, media, Refused } from "./api.js";
import { h, moment, notice, pause, seconds, table, tookSeconds } from "./dom.js";
import { reportedSteps, stepTable, stepTimes } from "./steps.js";
import { asked, findings, log, manifest, waiting } from "./told.js";

const ENDED = ["succeeded", "failed", "canceled", "expired"];
const AGAIN_MS = 1000;

export async function job({ argument, signal }) {
  const address = `farm/v1/jobs/${encodeURIComponent(argument)}`;
  let record = await call(address, { signal });
  let shownClip = null;
  let steps = stepTimes(nodeName);
  const stage = h("div", { class: "stage" });
  const bar = h("progress", { max: "1", "aria-label": "Progress" });
  const state = h("span", { role: "status" });
  const step = h("span", {});  // not said aloud: it changes every second
  const pace = h("div", {});
  const below = h("div", {});
  const later = h("div", {});  // what other calls tell: the form, the manifest, the log, what it waits for

  function nodeName(node) {
    return `${record.spec.graph[node]?.class_type ?? "node"} (${node})`;
  }

  function say(words) {
    if (state.textContent !== words) state.textContent = words;
  }

  async function act(verb) {
    try {
      record = await call(`${address}/${verb}`, { method: "POST" });
      steps = stepTimes(nodeName);
      draw();
      tellMore();
      follow().catch(fail);
    } catch (error) {
      notice(error.message);
    }
  }

  function draw() {
    const ended = ENDED.includes(record.state);
    const where = record.queue_position === null ? "" : `, ${record.queue_position} before it`;
    const { progress } = record;
    const at = progress?.steps ? ` ${progress.step}/${progress.steps}` : "";
    step.textContent = progress && record.state === "running" ? `, ${progress.phase}${at}` : "";
    say(`${record.state}${where}${ended && record.started_at ? ` after ${seconds(tookSeconds(record))}` : ""}`);
    bar.hidden = ended;
    bar.value = progress?.fraction ?? 0;
    if (record.clip_url) showClip();
    else if (ended || !stage.firstChild) stage.replaceChildren(h("span", { class: "quiet" }, ended ? "It has no clip." : "No picture yet."));
    pace.replaceChildren(...stepTable(ended && report() ? reportedSteps(report()) : steps.rows()));
    below.replaceChildren(...details(record, act, signal));
  }

  /** The doctor's; a job that failed has one too. */
  function report() { return record.result?.report ?? record.report; }

  async function showClip() {
    const clip = record.clip_url.split("?")[0];
    if (shownClip === clip) return;
    shownClip = clip;
    const source = await media(record.clip_url, signal);
    const video = record.result.artifacts.some((each) => each.video);
    stage.replaceChildren(video
      ? h("video", { src: source, controls: true, loop: true, playsinline: true, "aria-label": record.spec.title })
      : h("img", { src: source, alt: record.spec.title }));
  }

  function take(name, data) {
    if (name === "preview") stage.replaceChildren(h("img", { src: `data:${data.content_type};base64,${data.data_base64}`, alt: "Preview" }));
    if (name === "progress") {
      bar.value = data.value;
      step.textContent = `, ${data.message}`;
      steps.take({ node: data.current_node, step: data.step, steps: data.steps, at: Date.now() });
      pace.replaceChildren(...stepTable(steps.rows()));
    }
  }

  async function follow() {
    while (!ENDED.includes(record.state)) {
      try {
        for await (const [name, data] of events(record.job_id, signal)) {
          take(name, data);
          if (name === "status") await look();
        }
      } catch (error) {
        if (signal.aborted || (error instanceof Refused && error.status === 404)) throw error;
      }
      // The stream broke off, or the job has ended: either way it is asked how it stands.
      await pause(AGAIN_MS, signal);
      await look();
    }
  }

  async function look() {
    const before = record;
    record = await call(address, { signal });
    draw();
    if (before.state !== record.state || before.attempt !== record.attempt) tellMore();
  }

  // Each part stands for itself: one that cannot be had leaves the others as they are.
  async function tellMore() {
    const ask = (what, when) => when ? call(`${address}/${what}`, { signal }).catch(() => null) : null;
    const [form, changed, lines, waits] = await Promise.all([
      call("farm/v1/form", { body: { again: record.job_id }, signal }).catch(() => null),
      ask("manifest", record.result), ask("log", record.attempt > 0), ask("why_waiting", record.state === "queued")]);
    if (signal.aborted) return;
    for (const each of lines?.steps ?? []) steps.take({ ...each, node: each.node_id, at: Date.parse(each.at) });
    if (!report()) pace.replaceChildren(...stepTable(steps.rows()));
    later.replaceChildren(...waiting(waits), ...asked(record.spec, form), ...findings(report()), ...manifest(changed), ...log(lines));
  }

  function fail(error) {
    if (signal.aborted) return;
    step.textContent = "";
    say(error instanceof Refused && error.status === 404 ? "It is gone: somebody removed it, or its time here has passed." : error.message);
    bar.hidden = true;
  }

  draw();
  tellMore().then(follow).catch(fail);
  return h("div", {}, h("h1", {}, record.spec.title), h("p", {}, state, step), bar, stage, pace, below, later);
}

function details(record, act, signal) {
  const ended = ENDED.includes(record.state);
  const buttons = h("div", { class: "row" },
    !ended && h("button", { type: "button", onclick: () => act("cancel") }, "Cancel"),
    ended && record.state !== "succeeded" && h("button", { type: "button", onclick: () => act("retry") }, "Try again"),
    h("a", { class: "button", href: `#/new/${record.job_id}` }, "Render again with …"),
    (record.outputs ?? []).map((output) => h("a", {
      href: output.download_url, download: output.download_name,
      onclick: (event) => save(event, output, signal),
    }, output.name)));
  return [
    buttons,
    record.error && h("div", { role: "alert" }, h("h2", {}, "What went wrong"), h("p", { class: "bad" }, record.error.message)),
    record.parked && h("p", {}, `It waits: ${record.parked}`),
    h("h2", {}, "Times"),
    table("Times", ["what", "when"], [
      ["submitted", moment(record.submitted_at)], ["started", moment(record.started_at)], ["ended", moment(record.finished_at)],
      ["worker", record.worker], ...Object.entries(record.result?.timings_s ?? {}).map(([name, value]) => [name, seconds(value)])]),
    record.attempts.length > 0 && h("h2", {}, "Attempts"),
    record.attempts.length > 0 && table("Attempts", ["number", "worker", "outcome", "why"],
      record.attempts.map((each) => [String(each.attempt), each.worker, each.outcome, each.error?.message])),
    h("p", { class: "quiet" }, `Job ${record.job_id}`),
  ].filter(Boolean);
}

/** A file that the gateway itself gives out takes the key, which a link alone does not bring. */
async function save(event, output, signal) {
  if (!event.isTrusted || new URL(output.download_url, location).origin !== location.origin) return;
  event.preventDefault();
  h("a", { href: await media(output.download_url, signal), download: output.download_name }).click();
}
