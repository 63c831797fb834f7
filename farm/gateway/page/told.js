// What other calls tell of a job: what it waits for, what was found, changed and logged.

import { h, said, seconds, table, words } from "./dom.js";

export function waiting(told) {
  return told?.reasons.length ? [h("h2", {}, "What it waits for"), h("ul", {}, told.reasons.map((each) => h("li", {}, each)))] : [];
}

/** The report of the render doctor; a job that failed has one too. */
export function findings(report) {
  if (!report) return [];
  const rows = report.findings.map((each) => [each.cost ? seconds(each.cost.seconds) : "–", each.message, each.remedy]);
  const phases = report.prompts.flatMap((prompt) => prompt.phases).map((each) => [each.phase.replaceAll("_", " "), seconds(each.seconds), each.detail || "–"]);
  return [h("h2", {}, "What the render doctor found"),
    rows.length ? table("Findings", ["lost", "what", "remedy"], rows) : h("p", {}, "Nothing was lost."),
    phases.length && h("h2", {}, "Where the seconds went"),
    phases.length && table("Where the seconds went", ["phase", "seconds", "in detail"], phases)].filter(Boolean);
}

/** The manifest in words. */
export function manifest(told) {
  if (!told) return [];
  const lines = [
    ...told.changes.map((each) => words`Node ${each.node_id}, ${each.input_name}: ${said(each.old)} became ${said(each.new)}, for ${each.why}`),
    ...told.rewrites.filter((each) => !each.changes).flatMap((each) => each.notes.map((note) => words`${each.rewrite} was left out: ${note}`)),
    ...told.out_of_memory.map((step) => words`Memory ran out; tried again with: ${said(step)}`),
    ...told.blocked.map((each) => words`Node ${each.node_id} was blocked: ${each.message}`),
  ];
  return [h("h2", {}, "What was changed, and why"),
    lines.length ? h("ul", {}, lines.map((each) => h("li", {}, each))) : h("p", {}, "Nothing: the graph ran as it was given.")];
}

export function log(told) {
  return told?.lines.length ? [h("details", {}, h("summary", {}, `Log lines (${told.lines.length})`), h("pre", { tabindex: "0", role: "region", "aria-label": "Log lines" }, told.lines.join("\n")))] : [];
}

/** What was asked for, by what it is for. */
export function asked(spec, form) {
  const set = (form?.parameters ?? []).filter((each) => each.value !== null).map((each) => [each.name.includes(".") ? `${each.help.split(",")[0]} (${each.name})` : each.name, said(each.value)]);
  const others = Object.entries(spec.parameters).filter(([name]) => !form?.parameters.some((each) => each.name === name)).map(([name, value]) => [name, said(value)]);
  return [h("h2", {}, "What was asked"),
    table("Parameters", ["name", "value"], [
      ["template", spec.template ?? "a graph"], ["priority", String(spec.priority)],
      ["labels", spec.labels.length ? h("span", {}, spec.labels.flatMap((each) => [h("a", { href: `#/clips?${new URLSearchParams({ label: each })}` }, each), " "])) : "–"],
      ...set, ...others, ...Object.entries(spec.inputs).map(([name, source]) => [`file of ${name}`, source])])];
}
