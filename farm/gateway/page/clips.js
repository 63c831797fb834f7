// Clips: posters that play under the pointer, search, and what is done with many at once.

import { call } from "./api.js";
import { h, moment, notice, seconds, tookSeconds } from "./dom.js";

const STATES = ["", "queued", "running", "succeeded", "failed", "canceled", "expired"];
const PAGE = 24;

export async function clips({ signal }) {
  const chosen = new Map();
  const grid = h("ul", { class: "grid", "aria-label": "Clips" });
  const more = h("button", { type: "button", onclick: () => load() }, "More");
  const compared = h("div", {});
  const filter = h("form", { class: "row", role: "search", onsubmit: (event) => { event.preventDefault(); again(); } },
    h("label", {}, "Words", h("input", { name: "search", type: "search" })),
    h("label", {}, "Label", h("input", { name: "label" })),
    h("label", {}, "State", h("select", { name: "state", onchange: () => again() },
      STATES.map((state) => h("option", { value: state }, state || "any")))),
    h("label", {}, "Worker", h("input", { name: "worker" })),
    h("label", {}, "From", h("input", { name: "since", type: "date" })),
    h("label", {}, "Until", h("input", { name: "until", type: "date" })),
    h("button", {}, "Search"));
  const count = h("span", { class: "quiet" }, "none chosen");
  const acts = [["Cancel", cancelAll], ["Retry", retryAll], ["Download", downloadAll], ["Compare", compareAll]]
    .map(([name, act]) => h("button", { type: "button", disabled: true, onclick: () => act() }, name));
  let cursor = null;

  function query() {
    const given = new FormData(filter);
    const asked = new URLSearchParams({ limit: PAGE });
    for (const name of ["search", "label", "state", "worker"]) if (given.get(name)) asked.set(name, given.get(name));
    // Days are the reader's own; the last one is meant whole.
    for (const [name, more] of [["since", 0], ["until", 1]]) {
      const day = given.get(name) && new Date(`${given.get(name)}T00:00`);
      if (!day) continue;
      day.setDate(day.getDate() + more);
      asked.set(name, day.toISOString());
    }
    if (cursor) asked.set("cursor", cursor);
    return asked;
  }

  async function load() {
    more.disabled = true;
    try {
      const found = await call(`farm/v1/jobs?${query()}`, { signal });
      grid.append(...found.jobs.map((each) => card(each, choose)));
      cursor = found.next_cursor;
      more.hidden = !cursor;
      if (!grid.children.length) grid.append(h("li", { class: "quiet" }, "There are no such jobs."));
    } finally {
      more.disabled = false;
    }
  }

  function again() {
    cursor = null;
    grid.replaceChildren();
    chosen.clear();
    tell();
    return load().catch((error) => notice(error.message));
  }

  function choose(each, yes) {
    if (yes) chosen.set(each.job_id, each);
    else chosen.delete(each.job_id);
    tell();
  }

  function tell() {
    count.textContent = chosen.size ? `${chosen.size} chosen` : "none chosen";
    for (const act of acts) act.disabled = !chosen.size;
  }

  async function each(verb, said) {
    const ended = await Promise.allSettled([...chosen.keys()].map((id) => call(`farm/v1/jobs/${id}/${verb}`, { method: "POST" })));
    const bad = ended.filter((one) => one.status === "rejected");
    notice(`${said}: ${ended.length - bad.length}${bad.length ? `; refused: ${bad.length} (${bad[0].reason.message})` : ""}`);
    await again();
  }
  function cancelAll() { return each("cancel", "canceled"); }
  function retryAll() { return each("retry", "queued anew"); }

  function downloadAll() {
    for (const one of chosen.values()) if (one.clip_url) h("a", { href: one.clip_url, download: "", target: "_blank", rel: "noopener" }).click();
  }

  // Two to four clips that start, stop and are wound together.
  function compareAll() {
    const shown = [...chosen.values()].filter((one) => one.clip_url).slice(0, 4);
    if (shown.length < 2) return notice("Choose two to four clips that are done.");
    const videos = shown.map((one) => h("video", { src: one.clip_url, controls: true, loop: true, muted: true, playsinline: true, "aria-label": one.title }));
    for (const lead of videos) {
      for (const [name, follow] of [["play", (other) => other.play()], ["pause", (other) => other.pause()],
        ["seeked", (other) => { if (Math.abs(other.currentTime - lead.currentTime) > 0.05) other.currentTime = lead.currentTime; }]]) {
        lead.addEventListener(name, () => videos.filter((other) => other !== lead).forEach(follow));
      }
    }
    compared.replaceChildren(h("h2", {}, "Side by side"), h("div", { class: "compare" }, videos.map((video, at) => h("figure", {}, video, h("figcaption", {}, shown[at].title)))));
    compared.scrollIntoView();
  }

  await load();
  return h("div", {}, h("h1", {}, "Clips"), filter, h("div", { class: "row" }, count, acts), compared, grid, more);
}

function card(job, choose) {
  const stage = h("a", { class: "show", href: `#/job/${job.job_id}`, "aria-label": `${job.title}, ${job.state}` },
    job.poster_url
      ? h("img", { src: job.poster_url, alt: "", loading: "lazy" })
      : h("span", { class: "none" }, job.progress && job.state === "running" ? `${Math.round(job.progress.fraction * 100)} %` : job.state));
  const play = () => {
    if (!job.clip_url || !job.video || stage.querySelector("video")) return;
    stage.append(h("video", { src: job.clip_url, muted: true, loop: true, autoplay: true, playsinline: true, "aria-hidden": "true", tabindex: "-1" }));
  };
  const stop = () => stage.querySelector("video")?.remove();
  for (const [name, act] of [["pointerenter", play], ["focus", play], ["pointerleave", stop], ["blur", stop]]) stage.addEventListener(name, act);
  const facts = [job.state, job.seed !== null && `seed ${job.seed}`, seconds(tookSeconds(job)), moment(job.submitted_at)].filter(Boolean).join(" · ");
  return h("li", { class: "clip" },
    h("span", { class: "pick" }, h("input", { type: "checkbox", "aria-label": `Choose ${job.title}`, onchange: (event) => choose(job, event.target.checked) })),
    stage,
    h("div", { class: "about" }, h("span", { class: "title", title: job.title }, job.title), h("span", { class: "quiet" }, facts)));
}
