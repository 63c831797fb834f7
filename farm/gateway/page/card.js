// A clip in the grid: its picture, which plays under the pointer or the focus, and what is known of it.

import { media } from "./api.js";
import { h, moment, seconds, tookSeconds } from "./dom.js";

/** The card of a job; `update` shows what has become of it. */
export function card(job, { choose, signal }) {
  let now = job;
  const stage = h("a", { class: "show", href: `#/job/${job.job_id}` });
  const facts = h("span", { class: "quiet" });
  const box = h("input", { type: "checkbox", "aria-label": `Choose ${job.title}`, onchange: (event) => choose(now, event.target.checked) });
  const element = h("li", { class: "clip" },
    h("span", { class: "pick" }, box), stage,
    h("div", { class: "about" }, h("span", { class: "title", title: job.title }, job.title),
      job.prompt && !job.title.includes(job.prompt) && h("span", { class: "prompt", title: job.prompt }, job.prompt), facts));

  function update(told) {
    const pictured = stage.querySelector("img") && told.state === now.state;
    now = told;
    const { progress, state } = told;
    stage.setAttribute("aria-label", `${told.title}, ${state}`);
    facts.textContent = [state, told.seed !== null && `seed ${told.seed}`, tookSeconds(told) !== null && `took ${seconds(tookSeconds(told))}`, moment(told.submitted_at)]
      .filter(Boolean).join(" · ");
    if (pictured) return;
    stage.replaceChildren(h("span", { class: "none" }, progress && state === "running" ? `running, ${Math.round(progress.fraction * 100)} %` : state));
    if (told.poster_url) picture(told.poster_url);
  }

  async function picture(address) {
    const image = h("img", { alt: "", loading: "lazy", onerror: () => image.remove() });
    stage.append(image);
    const source = await media(address, signal).catch(() => null);
    if (source) image.src = source;
    else image.remove();
  }

  async function play() {
    if (!now.clip_url || !now.video || stage.querySelector("video")) return;
    const video = h("video", { muted: true, loop: true, autoplay: true, playsinline: true, "aria-hidden": "true", tabindex: "-1" });
    video.muted = true;  // the attribute alone mutes nothing that a script has made
    stage.append(video);
    const source = await media(now.clip_url, signal).catch(() => null);
    if (source && video.isConnected) video.src = source;
  }
  const stop = () => stage.querySelector("video")?.remove();
  for (const [name, act] of [["pointerenter", play], ["focus", play], ["pointerleave", stop], ["blur", stop]]) stage.addEventListener(name, act);

  update(job);
  return { element, box, update };
}
