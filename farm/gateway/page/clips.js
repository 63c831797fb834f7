// Clips: posters that play under the pointer, search, and what is done with many at once.

import { call, media } from "./api.js";
import { card } from "./card.js";
import { sideBySide } from "./compare.js";
import { confirmed, h, moment, notice, pause } from "./dom.js";

const STATES = ["", "queued", "running", "succeeded", "failed", "canceled", "expired"];
const FILTERS = ["search", "label", "state", "worker", "since", "until"];
const PAGE = 24;
const PART = 500;  // ids of one order
const NEWS_MS = 5000;
const QUIET_PX = 100;

export async function clips({ query, signal }) {
  const chosen = new Map();
  const cards = new Map();
  let cursor = null;
  let looking = 0;  // counts searches: what an older one brings is not shown
  const grid = h("ul", { class: "grid", "aria-label": "Clips" });
  const more = h("button", { type: "button", onclick: () => load() }, "More");
  const looked = h("p", { class: "quiet", role: "status" });
  const compared = h("div", {});
  const filter = h("form", { class: "row", role: "search", onsubmit: (event) => { event.preventDefault(); again(); } },
    h("label", {}, "Words", h("input", { name: "search", type: "search", value: query.get("search") })),
    h("label", {}, "Label", h("input", { name: "label", value: query.get("label") })),
    h("label", {}, "State", h("select", { name: "state", onchange: () => again() },
      STATES.map((state) => h("option", { value: state, selected: state === query.get("state") }, state || "any")))),
    h("label", {}, "Worker", h("input", { name: "worker", value: query.get("worker") })),
    h("label", {}, "From", h("input", { name: "since", type: "date", value: query.get("since") })),
    h("label", {}, "Until", h("input", { name: "until", type: "date", value: query.get("until") })),
    h("button", {}, "Search"));
  const count = h("span", { class: "quiet", role: "status" }, "none chosen");
  const whole = h("input", { type: "checkbox", onchange: () => { if (whole.checked) chooseShown(false); tell(); } });
  const shown = h("button", { type: "button", onclick: () => chooseShown(true) }, "Choose all shown");
  const orders = [["Cancel", cancelAll], ["Retry", retryAll]].map(named);
  const uses = [["Download", downloadAll], ["Compare", compareAll]].map(named);

  function named([name, act]) {
    return h("button", { type: "button", disabled: true, onclick: () => Promise.resolve(act()).catch((error) => notice(error.message)) }, name);
  }

  /** What is searched for, as a list and an order about all of it are asked. */
  function wanted() {
    const given = new FormData(filter);
    const found = {};
    for (const name of ["search", "label", "state", "worker"]) if (given.get(name).trim()) found[name] = given.get(name).trim();
    // Days are the reader's own; the last one is meant whole.
    for (const [name, further] of [["since", 0], ["until", 1]]) {
      const day = given.get(name) && new Date(`${given.get(name)}T00:00`);
      if (!day) continue;
      day.setDate(day.getDate() + further);
      found[name] = day.toISOString();
    }
    return found;
  }

  async function load() {
    const mine = looking;
    const until = cards.size + PAGE;
    more.disabled = true;
    try {
      // Where few of many are wanted, a page may be short and not be the last.
      do {
        const asked = new URLSearchParams({ ...wanted(), limit: until - cards.size, ...(cursor && { cursor }) });
        const found = await call(`farm/v1/jobs?${asked}`, { signal });
        if (mine !== looking) return;
        grid.append(...found.jobs.filter((each) => !cards.has(each.job_id)).map(added));
        cursor = found.next_cursor;
        looked.textContent = cursor && cards.size < until ? `Looked back to ${moment(found.looked_back_to)} …` : "";
      } while (cursor && cards.size < until);
      if (!cards.size) looked.textContent = "There are no such jobs.";
    } finally {
      more.disabled = false;
      more.hidden = !cursor;
      shown.disabled = !cards.size;
    }
  }

  function added(each) {
    const made = card(each, { choose, signal });
    cards.set(each.job_id, made);
    return made.element;
  }

  /** Show now and then what has become of the newest, and what has come. */
  async function follow() {
    for (;;) {
      await pause(NEWS_MS, signal);
      if (document.hidden) continue;
      const mine = looking;
      const found = await call(`farm/v1/jobs?${new URLSearchParams({ ...wanted(), limit: PAGE })}`, { signal });
      if (mine !== looking) continue;
      // What comes above moves all below: not while somebody looks or chooses there.
      const still = scrollY > QUIET_PX || chosen.size > 0;
      const come = found.jobs.filter((each) => !still && !cards.has(each.job_id));
      for (const each of found.jobs) cards.get(each.job_id)?.update(each);
      if (come.length) looked.textContent = "";
      grid.prepend(...come.map(added));
    }
  }

  function again() {
    looking += 1;
    cursor = null;
    cards.clear();
    grid.replaceChildren();
    chosen.clear();
    whole.checked = false;
    tell();
    const said = new URLSearchParams([...new FormData(filter)].filter(([name, value]) => FILTERS.includes(name) && value));
    history.replaceState(null, "", said.size ? `#/clips?${said}` : "#/clips");
    return load().catch((error) => { if (!signal.aborted) notice(error.message); });
  }

  function choose(each, yes) {
    if (yes) chosen.set(each.job_id, each);
    else chosen.delete(each.job_id);
    whole.checked = false;
    tell();
  }

  function chooseShown(yes) {
    for (const { box } of cards.values()) if (box.checked !== yes) box.click();
  }

  function tell() {
    count.textContent = whole.checked ? "all that is found" : chosen.size ? `${chosen.size} chosen` : "none chosen";
    for (const each of orders) each.disabled = !chosen.size && !whole.checked;
    for (const each of uses) each.disabled = !chosen.size;
  }

  /** Give an order about what is chosen, part by part. */
  async function order(verb, said) {
    let done = 0;
    let of = 0;
    for (const body of whole.checked ? [whereAll()] : parts([...chosen.keys()])) {
      for (let at = body; at;) {
        const told = await call(`farm/v1/jobs/${verb}`, { body: at });
        done += told.done;
        of += told.of;
        at = told.next_cursor ? { ...at, cursor: told.next_cursor } : null;
        notice(`${said}: ${done}${of > done ? `; of ${of} the others are past that` : ""}`);
      }
    }
    await again();
  }

  function whereAll() {
    const { label, ...others } = wanted();
    return { where: { ...others, labels: label ? [label] : [] }, all: true };
  }

  async function cancelAll() {
    const many = whole.checked ? "all jobs that are found" : `${chosen.size} jobs`;
    if ((whole.checked || chosen.size > 1) && !await confirmed(`Cancel ${many}? Those that run stop, those that wait do not begin.`, `Cancel ${many}`)) return;
    await order("cancel", "canceled");
  }
  function retryAll() { return order("retry", "queued anew"); }

  async function downloadAll() {
    const done = [...chosen.values()].filter((one) => one.clip_url);
    if (!done.length) return notice("None of these has a clip.");
    for (const one of done) {
      const { outputs } = await call(`farm/v1/jobs/${one.job_id}`, { signal });
      for (const each of outputs) {
        h("a", { href: await media(each.download_url, signal), download: each.download_name }).click();
        await pause(250, signal);  // a browser drops what comes at once
      }
    }
    notice(`downloaded: the files of ${done.length}`);
  }

  async function compareAll() {
    const done = [...chosen.values()].filter((one) => one.clip_url && one.video);
    if (done.length < 2 || done.length > 4) return notice("Choose two to four clips that are done.");
    compared.replaceChildren(await sideBySide(done, signal));
    compared.querySelector("h2").focus();
  }

  await load();
  follow().catch(() => {});
  return h("div", {}, h("h1", {}, "Clips"), filter,
    h("div", { class: "row" }, shown, h("label", { class: "check" }, whole, "All that the search finds"), count, orders, uses),
    compared, grid, looked, more);
}

function parts(ids) {
  return Array.from({ length: Math.ceil(ids.length / PART) }, (_, at) => ({ ids: ids.slice(at * PART, (at + 1) * PART) }));
}
