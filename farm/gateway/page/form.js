// A form of parameters: fields by their types, and what a person has said in them.

import { upload } from "./api.js";
import { numberOf } from "./exact.js";
import { dropPlace, h, notice, said } from "./dom.js";

const LONG = ["prompt", "negative"];

/** The fields of these parameters, with the values that they have. */
export function fieldsOf(parameters) {
  return parameters.map(field);
}

/** What was changed in these fields; `again`: of a job, whose values stay as they are. */
export function changed(place, again) {
  const parameters = {};
  const inputs = {};
  for (const input of place.querySelectorAll("[data-type]")) {
    const { name, dataset: { type, had } } = input;
    const value = type === "switch" ? input.checked : input.value.trim();
    if (type === "file") {
      if (value && value !== had) inputs[name] = value;
    } else if (type === "switch") {
      if (value || (again && had === "true")) parameters[name] = value;
    } else if (value === "") {
      // An emptied text is meant to be empty; an emptied number of a job is what it is by default.
      if (had && type === "text" && name !== "prompt") parameters[name] = "";
      else if (had && again) parameters[name] = null;
    } else if (value !== had) {
      parameters[name] = type === "text" || type === "choice" ? value : numberOf(value);
    }
  }
  return { parameters, inputs };
}

function field(parameter) {
  const { name, type, help, unit, required, choices, takes, by_default: otherwise } = parameter;
  const had = parameter.value === null ? "" : said(parameter.value);
  const hint = parameter.default === null ? otherwise : said(parameter.default);
  const common = { name, "data-type": type, "data-had": had, required: Boolean(required) && type !== "file", title: type === "file" ? null : takes };
  const called = name.includes(".") ? `${help} (${name})` : name.replaceAll("_", " ");
  const words = `${called}${unit && unit !== name ? ` (${unit})` : ""}${help && !name.includes(".") ? `: ${help}` : ""}`;
  if (type === "switch") {
    return h("label", { class: "check" }, h("input", { ...common, required: false, type: "checkbox", checked: had === "true" }), words);
  }
  if (type === "file") return fileField(common, words, had);
  if (choices?.length) {
    const chosen = had || hint;
    return h("label", {}, words, h("select", { ...common, "data-had": had, onchange: (event) => name === "preset" && clearPreset(event.target) },
      choices.map((each) => h("option", { value: each, selected: each === chosen }, each))));
  }
  if (LONG.includes(name) || had.includes("\n") || had.length > 60) {
    return h("label", { class: "wide" }, words, h("textarea", { ...common, rows: "3", placeholder: hint }, had));
  }
  // Not of type "number": that would round a long seed, and turn with the wheel.
  const input = h("input", { ...common, inputmode: type === "text" ? "text" : "decimal", value: had, placeholder: hint, "data-by": otherwise });
  if (type !== "text") input.pattern = "-?[0-9]*[.]?[0-9]*(e-?[0-9]+)?";
  const label = h("label", {}, words, input);
  return name === "seed" ? h("div", { class: "beside" }, label, h("button", { type: "button", "aria-label": "Draw another seed", onclick: () => draw(input) }, "Draw")) : label;
}

function draw(input) {
  input.value = String(crypto.getRandomValues(new BigUint64Array(1))[0] >> 11n);
}

/** What a preset says is not said twice: another one brings its own values. */
function clearPreset(select) {
  for (const input of select.closest(".fields").querySelectorAll("[data-by*=preset]")) input.value = "";
}

/** An address, or a file of this machine, which is uploaded when it is chosen or dropped there. */
function fileField(common, words, had) {
  const refused = h("p", { class: "bad", role: "alert" });
  let uploads = 0;  // counts files: what became of an older one is not shown
  const address = h("input", { ...common, type: "text", value: had, placeholder: "https://…", oninput: () => { chosen.value = ""; settle(); } });
  const chosen = h("input", { type: "file", "aria-label": `File for ${common.name}`, onchange: (event) => bring(event.target.files[0]) });

  /** Show what became of the last file, and let the form be sent again. */
  function settle(fault = "") {
    uploads += 1;
    refused.textContent = fault;
    address.setCustomValidity("");
  }

  async function bring(file) {
    if (!file) return;
    settle();
    const mine = uploads;
    address.setCustomValidity(`${file.name} is still being uploaded`);  // what is sent meanwhile would be the former
    try {
      const made = await upload(file);
      if (mine !== uploads) return;
      settle();
      address.value = `asset:${made.id}`;
      notice(`${file.name} is uploaded.`);
    } catch (error) {
      if (mine !== uploads) return;
      chosen.value = "";
      settle(`${file.name}: ${error.message}`);
    }
  }
  return dropPlace(bring, { class: "drop wide" }, h("label", {}, `${words}: an address, or drop a file here`, address), chosen, refused);
}
