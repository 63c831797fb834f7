// One job: live while it goes on, then the clip; what was asked, what was tried.

import { call, events } from "./api.js";
import { h, moment, notice, seconds, table, tookSeconds } from "./dom.js";

const ENDED = ["succeeded", "failed", "canceled", "expired"];

export async function job({ argument, signal }) {
  let record = await call(`farm/v1/jobs/${encodeURIComponent(argument)}`, { signal });
  const stage = h("div", { class: "stage" });
  const bar = h("progress", { max: "1", "aria-label": "Progress" });
  const state = h("p", { role: "status" });
  const below = h("div", {});
  const later = h("div", {});  // what other calls tell: the manifest, the log, what it waits for

  async function act(verb) {
    try {
      record = await call(`farm/v1/jobs/${record.job_id}/${verb}`, { method: "POST" });
      draw();
      if (!ENDED.includes(record.state)) follow();
    } catch (error) {
      notice(error.message);
    }
  }

  function draw() {
    const ended = ENDED.includes(record.state);
    const where = record.queue_position === null ? "" : `, ${record.queue_position} before it`;
    const step = record.progress && record.state === "running" ? `, ${record.progress.phase}${record.progress.steps ? ` ${record.progress.step}/${record.progress.steps}` : ""}` : "";
    state.textContent = `${record.state}${where}${step}${ended ? ` after ${seconds(tookSeconds(record))}` : ""}`;
    bar.hidden = ended;
    bar.value = record.progress?.fraction ?? 0;
    if (record.clip_url) {
      const video = record.result.artifacts.some((each) => each.video);
      const clip = video
        ? h("video", { src: record.clip_url, controls: true, loop: true, playsinline: true, "aria-label": record.spec.title })
        : h("img", { src: record.clip_url, alt: record.spec.title });
      if (stage.firstChild?.getAttribute?.("src")?.split("?")[0] !== record.clip_url.split("?")[0]) stage.replaceChildren(clip);
    } else if (!stage.firstChild) {
      stage.append(h("span", { class: "quiet" }, ended ? "It has no clip." : "No picture yet."));
    }
    below.replaceChildren(...details(record, act));
  }

  async function follow() {
    for (;;) {
      try {
        for await (const [name, data] of events(record.job_id, signal)) {
          if (name === "preview") stage.replaceChildren(h("img", { src: `data:${data.content_type};base64,${data.data_base64}`, alt: "Preview" }));
          if (name === "progress") {
            bar.value = data.value;
            state.textContent = `running, ${data.message}`;
          }
          if (name === "status") {
            record = await call(`farm/v1/jobs/${record.job_id}`, { signal });
            draw();
            tellMore();
          }
        }
        if (ENDED.includes(record.state)) return;
      } catch (error) {
        if (signal.aborted) return;
      }
      await new Promise((done) => setTimeout(done, 1000));
      record = await call(`farm/v1/jobs/${record.job_id}`, { signal }).catch(() => record);
      if (signal.aborted) return;
      draw();
    }
  }

  // Each part stands for itself: one that cannot be had leaves the others as they are.
  async function tellMore() {
    const ask = (what, when) => when ? call(`farm/v1/jobs/${record.job_id}/${what}`, { signal }).catch(() => null) : null;
    const [changed, lines, waits] = await Promise.all([
      ask("manifest", record.result), ask("log", record.attempt > 0), ask("why_waiting", record.state === "queued")]);
    later.replaceChildren(...[...waiting(waits), ...findings(record), ...manifest(changed), ...log(lines)]);
  }

  draw();
  tellMore();
  if (!ENDED.includes(record.state)) follow();
  return h("div", {}, h("h1", {}, record.spec.title), state, bar, stage, below, later);
}

function waiting(told) {
  return told?.reasons.length ? [h("h2", {}, "What it waits for"), h("ul", {}, told.reasons.map((each) => h("li", {}, each)))] : [];
}

function findings(record) {
  const report = record.result?.report;
  if (!report) return [];
  const rows = report.findings.map((each) => [each.cost ? seconds(each.cost.seconds) : "–", each.message, each.remedy]);
  return [h("h2", {}, "What the render doctor found"),
    rows.length ? table("Findings", ["lost", "what", "remedy"], rows) : h("p", {}, "Nothing was lost.")];
}

// The manifest in words.
function manifest(told) {
  if (!told) return [];
  const words = [
    ...told.changes.map((each) => `Node ${each.node_id}, ${each.input_name}: ${said(each.old)} became ${said(each.new)}, for ${each.why}`),
    ...told.rewrites.filter((each) => !each.changes).flatMap((each) => each.notes.map((note) => `${each.rewrite} was left out: ${note}`)),
    ...told.out_of_memory.map((step) => `Memory ran out; tried again with: ${step}`),
    ...told.blocked.map((each) => `Node ${each.node_id} was blocked: ${each.message}`),
  ];
  return [h("h2", {}, "What was changed, and why"),
    words.length ? h("ul", {}, words.map((each) => h("li", {}, each))) : h("p", {}, "Nothing: the graph ran as it was given.")];
}

function said(value) {
  return value === null ? "nothing" : typeof value === "string" ? value : JSON.stringify(value);
}

function log(told) {
  return told?.lines.length ? [h("details", {}, h("summary", {}, `Log lines (${told.lines.length})`), h("pre", { tabindex: "0" }, told.lines.join("\n")))] : [];
}

function details(record, act) {
  const { spec } = record;
  const ended = ENDED.includes(record.state);
  const parameters = { ...spec.parameters, ...spec.template_parameters };
  const asked = Object.entries(parameters).filter(([, value]) => value !== null);
  const buttons = h("div", { class: "row" },
    !ended && h("button", { type: "button", onclick: () => act("cancel") }, "Cancel"),
    ended && record.state !== "succeeded" && h("button", { type: "button", onclick: () => act("retry") }, "Try again"),
    h("button", { type: "button", onclick: () => again(record) }, "Render again with …"),
    (record.outputs ?? []).map((output) => h("a", { href: output.url, download: output.name }, output.name)));
  return [
    buttons,
    record.error && h("div", { role: "alert" }, h("h2", {}, "What went wrong"), h("p", { class: "bad" }, record.error.message)),
    record.parked && h("p", {}, `It waits: ${record.parked}`),
    h("h2", {}, "What was asked"),
    table("Parameters", ["name", "value"], [
      ["template", spec.template ?? "a graph"], ["priority", String(spec.priority)], ["labels", spec.labels.join(", ") || "–"],
      ...asked.map(([name, value]) => [name, typeof value === "string" ? value : JSON.stringify(value)])]),
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

function again(record) {
  sessionStorage.setItem("farm-again", JSON.stringify(record.spec));
  location.hash = "#/new";
}
