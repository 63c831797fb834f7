// Two to four clips that start, stop and are wound together.

import { media } from "./api.js";
import { h } from "./dom.js";

const APART_S = 0.05;

/** The clips of these jobs side by side. */
export async function sideBySide(jobs, signal) {
  const sources = await Promise.all(jobs.map((each) => media(each.clip_url, signal)));
  const videos = jobs.map((each, at) => {
    const video = h("video", { src: sources[at], controls: true, loop: true, muted: true, playsinline: true, "aria-label": each.title });
    video.muted = true;
    return video;
  });
  const follow = {
    play: (other) => other.paused && other.play(),
    pause: (other) => other.pause(),
    seeked: (other, lead) => { if (Math.abs(other.currentTime - lead.currentTime) > APART_S) other.currentTime = lead.currentTime; },
    ratechange: (other, lead) => { other.playbackRate = lead.playbackRate; },
  };
  for (const lead of videos) {
    for (const [name, act] of Object.entries(follow)) {
      lead.addEventListener(name, () => videos.filter((other) => other !== lead).forEach((other) => act(other, lead)));
    }
  }
  const all = (act) => () => videos.forEach(act);
  const figures = videos.map((video, at) => h("figure", {}, video, h("figcaption", {}, h("a", { href: `#/job/${jobs[at].job_id}` }, jobs[at].title), caption(jobs[at]))));
  return h("section", { "aria-label": "Side by side" }, h("h2", { tabindex: "-1" }, "Side by side"),
    h("div", { class: "row" },
      h("button", { type: "button", onclick: all((each) => each.play()) }, "Play all"),
      h("button", { type: "button", onclick: all((each) => each.pause()) }, "Pause all"),
      h("button", { type: "button", onclick: all((each) => { each.currentTime = 0; }) }, "From the start")),
    h("div", { class: "compare" }, figures));
}

function caption(job) { return job.seed === null ? "" : `, seed ${job.seed}`; }
