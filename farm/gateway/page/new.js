// New: a template's form, a workflow file, or a job once more; plan and checks are shown before anything is queued.

import { call } from "./api.js";
import { dropPlace, h, notice, seconds, table, words } from "./dom.js";
import { read } from "./exact.js";
import { changed, fieldsOf } from "./form.js";

const IDLE_MS = 800;

export async function fresh({ argument, signal }) {
  const { templates } = await call("farm/v1/templates", { signal });
  let base = argument ? { again: argument } : { template: templates[0].name };
  let held = null;  // the workflow file whose form is shown
  let turns = 0;  // counts what was chosen: an older choice is not shown
  let judging = 0;  // counts judgements: an older one is not shown
  let timer = null;
  const fields = h("div", { class: "fields" });
  const of = h("h2", {}, "Parameters");
  const about = h("p", { class: "quiet" });
  const verdict = h("div", { role: "status", "aria-live": "polite" });
  const choice = h("select", { name: "template", onchange: () => choose() },
    // What a file or a job brings is no template, and the choice says so.
    h("option", { value: "", hidden: !argument }, argument ? "the job's own" : "a workflow file"), templates.map((each) => h("option", { value: each.name }, each.title)));
  const file = h("input", { type: "file", accept: ".json,application/json", onchange: (event) => take(event.target.files[0]) });
  const refused = h("div", {});
  const drop = dropPlace(take, {}, h("label", {}, "Or a workflow file, of either format: drop it here, or", file), refused);
  const labels = h("input", { name: "labels", placeholder: "shot=12 night" });
  const priority = h("select", { name: "priority" }, h("option", { value: "" }, "as usual"), Array.from({ length: 10 }, (_, at) => h("option", { value: String(at) }, `${at}${at === 0 ? ", the most urgent" : ""}`)));
  const park = h("input", { name: "park", type: "checkbox" });
  const submit = h("button", { class: "first" }, "Render");
  const look = h("button", { type: "button", onclick: () => form.reportValidity() && judge() }, "Plan and check");
  const form = h("form", { oninput: () => soon(), onsubmit: (event) => { event.preventDefault(); send(); } },
    h("div", { class: "row" }, h("label", {}, "Template", choice)), drop, of, about, fields,
    h("div", { class: "row" }, h("label", {}, "Labels, with spaces between", labels), h("label", {}, "Priority", priority),
      h("label", { class: "check" }, park, "let it wait if no worker fits now")),
    h("div", { class: "row" }, look, submit), verdict);

  /** Show the form of a workflow file; of one that has none, why, beside where it was chosen. */
  async function take(given) {
    if (!given) return hold(held);  // a picker that is closed again without a choice forgets what it had
    const mine = ++turns;
    try {
      await turnTo({ graph: graphOf(await given.text()) }, given, mine);
      if (mine === turns) await judge();
    } catch (error) {
      if (mine !== turns || signal.aborted) return;
      hold(held);
      refused.replaceChildren(h("div", { role: "alert" }, h("p", {}, words`${given.name} cannot be rendered:`), problems(error),
        h("p", {}, "The form is still the one from before, and Render sends that.")));
    }
  }

  async function choose() {
    try {
      await turnTo(choice.value ? { template: choice.value } : { again: argument });
    } catch (error) {
      if (signal.aborted) return;
      choice.value = base.template ?? "";
      notice(error.message);
    }
  }

  /** Show the form of a template, a file's graph or a job; what cannot be shown leaves the form as it is. */
  async function turnTo(other, from = null, mine = ++turns) {
    const told = await call("farm/v1/form", { body: other, signal });
    if (mine !== turns) return;
    base = other;
    held = from;
    hold(held);
    if (judging) judging += 1;  // what is judged now, is of the form before
    clearTimeout(timer);
    refused.replaceChildren();
    verdict.replaceChildren();
    of.replaceChildren(...(from ? words`Parameters of ${from.name}` : ["Parameters"]));
    about.textContent = other.template ? "" : told.parameters.length
      ? "What you leave as it is stays as it is."
      : "Nothing in this graph is known by what it is for: it is rendered as it is.";
    choice.value = other.template ?? "";
    fields.replaceChildren(...fieldsOf(told.parameters));
  }

  /** Have the picker name the file whose form is shown, however that came. */
  function hold(from) {
    const data = new DataTransfer();
    if (from) data.items.add(from);
    file.files = data.files;
  }

  function body() {
    const { template, ...others } = base;
    const given = labels.value.trim();
    return { ...others, ...(template && { template }), ...changed(fields, Boolean(base.again)),
      ...(given && { labels: given.split(/[\s,]+/) }), ...(priority.value && { priority: Number(priority.value) }),
      ...(park.checked && { if_unplaceable: "park" }) };
  }

  /** Plan anew a while after the last change, once somebody has asked for it. */
  function soon() {
    clearTimeout(timer);
    if (judging) timer = setTimeout(() => form.checkValidity() && judge(), IDLE_MS);
  }

  async function judge() {
    const mine = ++judging;
    const asked = body();
    if (!verdict.firstChild) verdict.replaceChildren("…");
    const [plan, lint] = await Promise.allSettled([call("farm/v1/plan", { body: asked, signal }), call("farm/v1/lint", { body: asked, signal })]);
    if (mine === judging && !signal.aborted) verdict.replaceChildren(...shownPlan(plan), ...shownLint(lint));
  }

  async function send() {
    submit.disabled = true;
    try {
      const made = await call("farm/v1/jobs", { body: body() });
      location.hash = `#/job/${made.job_id}`;
    } catch (error) {
      verdict.replaceChildren(h("div", { role: "alert" }, problems(error)));
    } finally {
      submit.disabled = false;
    }
  }

  signal.addEventListener("abort", () => clearTimeout(timer));
  await turnTo(base);
  return h("div", {}, h("h1", {}, argument ? "Render again with …" : "New"), form);
}

/** The graph of a file, as its text says. */
function graphOf(text) {
  let found;
  try {
    found = read(text);
  } catch {
    throw new Error("this is no JSON; save the workflow from ComfyUI's editor as a file");
  }
  if (typeof found !== "object" || found === null || Array.isArray(found)) {
    throw new Error("this is JSON, but no workflow; save one from ComfyUI's editor as a file");
  }
  return found;
}

function problems(error) {
  const found = error.details?.problems;
  return found ? h("ul", {}, found.map((each) => h("li", { class: "bad" }, words`${each.field}: ${each.message}`))) : h("p", { class: "bad" }, error.message);
}

function shownPlan({ value, reason }) {
  if (!value) return [h("h2", {}, "Plan"), problems(reason)];
  const rows = value.cards.map((card) => [
    card.target.name,
    card.missing.length ? card.missing.join("; ") : card.forecast?.fate ?? "no WAN model that is known",
    seconds(card.forecast?.warm?.seconds),
  ]);
  return [h("h2", {}, "Plan"), h("p", {}, `${value.title}; a card of the ${value.vram_gib} GiB class`), table("Plan by card", ["card", "what becomes of it", "about"], rows)];
}

function shownLint({ value, reason }) {
  if (!value) return [h("h2", {}, "Checks"), problems(reason)];
  const rows = value.diagnostics.map((each) => [each.severity, each.message, each.remedy]);
  return [h("h2", {}, "Checks"), rows.length ? table("Checks", ["severity", "what", "remedy"], rows) : h("p", {}, "Nothing to remark.")];
}
