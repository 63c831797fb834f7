// New: a template's form, or a workflow file; plan and lint are shown before anything is queued.

import { call, upload } from "./api.js";
import { h, notice, seconds, table } from "./dom.js";

export async function fresh({ signal }) {
  const { templates } = await call("farm/v1/templates", { signal });
  const before = JSON.parse(sessionStorage.getItem("farm-again") ?? "null");
  sessionStorage.removeItem("farm-again");
  let graph = before && !before.template ? before.graph : null;
  const fields = h("div", { class: "fields" });
  const verdict = h("div", { role: "status", "aria-live": "polite" });
  const choice = h("select", { name: "template", onchange: () => { graph = null; draw(); } },
    templates.map((each) => h("option", { value: each.name, selected: each.name === before?.template }, each.title)));
  const file = h("input", { type: "file", accept: ".json,application/json", onchange: (event) => take(event.target.files[0]) });
  const drop = h("div", { class: "drop", ondragover: (event) => { event.preventDefault(); drop.classList.add("over"); },
    ondragleave: () => drop.classList.remove("over"),
    ondrop: (event) => { event.preventDefault(); drop.classList.remove("over"); take(event.dataTransfer.files[0]); } },
  h("label", {}, "Or a workflow file, of either format: drop it here, or", file));
  const submit = h("button", { class: "first" }, "Render");
  const look = h("button", { type: "button", onclick: () => judge() }, "Plan and check");
  const form = h("form", { onsubmit: (event) => { event.preventDefault(); send(); } },
    h("div", { class: "row" }, h("label", {}, "Template", choice)), drop, h("h2", {}, "Parameters"), fields,
    h("div", { class: "row" }, look, submit), verdict);

  async function take(given) {
    if (!given) return;
    try {
      graph = JSON.parse(await given.text());
      draw(given.name);
      await judge();
    } catch (error) {
      notice(`${given.name}: ${error.message}`);
    }
  }

  function draw(name) {
    if (graph) {
      const roles = ["prompt", "negative", "seed", "width", "height", "frames", "steps", "cfg"];
      fields.replaceChildren(h("p", { class: "wide" }, name ? `The graph of ${name}; what stays empty is left as it is.` : "The graph of that job; what stays empty is left as it is."),
        ...roles.map((role) => field({ name: role, type: role === "prompt" || role === "negative" ? "text" : "number", help: "", choices: [] }, "")));
      return;
    }
    const template = templates.find((each) => each.name === choice.value);
    const given = before?.template === template.name ? before.template_parameters : {};
    fields.replaceChildren(...template.parameters.map((each) => field(each, given[each.name] ?? "")));
  }

  function body() {
    const parameters = {};
    const inputs = {};
    for (const input of fields.querySelectorAll("[name]")) {
      const value = input.type === "checkbox" ? input.checked : input.value.trim();
      if (value === "" || value === false) continue;
      if (input.dataset.type === "file") inputs[input.name] = value;
      else parameters[input.name] = input.dataset.type === "text" || input.dataset.type === "choice" || value === true ? value : Number(value);
    }
    return graph ? { graph, parameters, inputs } : { template: choice.value, parameters, inputs };
  }

  async function judge() {
    verdict.replaceChildren("…");
    const [plan, lint] = await Promise.allSettled([call("farm/v1/plan", { body: body(), signal }), call("farm/v1/lint", { body: body(), signal })]);
    verdict.replaceChildren(...shownPlan(plan), ...shownLint(lint));
    return plan.status === "fulfilled";
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

  draw();
  return h("div", {}, h("h1", {}, "New"), form);
}

function field(parameter, value) {
  const { name, type, help, unit, required, choices, takes } = parameter;
  const wide = type === "text" ? "wide" : undefined;
  const hint = parameter.default ?? "";
  const common = { name, "data-type": type, required: Boolean(required) && type !== "file", title: takes };
  let input;
  if (choices?.length) {
    input = h("select", common, choices.map((each) => h("option", { value: each, selected: each === (value || hint) }, each)));
  } else if (type === "switch") {
    return h("label", { class: "check" }, h("input", { ...common, required: false, type: "checkbox", checked: Boolean(value) }), `${name}: ${help}`);
  } else if (type === "text") {
    input = h("textarea", { ...common, rows: "2", placeholder: hint }, value);
  } else if (type === "file") {
    return fileField(name, common, help);
  } else {
    input = h("input", { ...common, type: "number", step: "any", value, placeholder: hint });
  }
  return h("label", { class: wide }, `${name}${unit ? ` (${unit})` : ""}${help ? `: ${help}` : ""}`, input);
}

/** An address, or a file of this machine, which is uploaded when it is chosen or dropped there. */
function fileField(name, common, help) {
  const address = h("input", { ...common, type: "text", placeholder: "https://…" });
  const chosen = h("input", { type: "file", "aria-label": `File for ${name}`, onchange: (event) => bring(event.target.files[0]) });
  async function bring(file) {
    if (!file) return;
    try {
      const made = await upload(file);
      address.value = `asset:${made.id}`;
      notice(`${file.name} is uploaded.`);
    } catch (error) {
      notice(`${file.name}: ${error.message}`);
    }
  }
  const place = h("div", { class: "drop wide", ondragover: (event) => { event.preventDefault(); place.classList.add("over"); },
    ondragleave: () => place.classList.remove("over"),
    ondrop: (event) => { event.preventDefault(); place.classList.remove("over"); bring(event.dataTransfer.files[0]); } },
  h("label", {}, `${name}: ${help}; an address, or drop a file here`, address), chosen);
  return place;
}

function problems(error) {
  const found = error.details?.problems;
  return found ? h("ul", {}, found.map((each) => h("li", { class: "bad" }, `${each.field}: ${each.message}`))) : h("p", { class: "bad" }, error.message);
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
