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

  draw();
  if (!ENDED.includes(record.state)) follow();
  return h("div", {}, h("h1", {}, record.spec.title), state, bar, stage, below);
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
