// Seconds of each sampling step, from the moments at which a job told how far it was.

import { seconds, table } from "./dom.js";

/** Takes in what is told, in order, and gives the rows of a table. */
export function stepTimes(nameOf) {
  const runs = new Map();  // node -> {steps, marks: [{step, at}]}, `at` in ms

  function take({ node, step, steps, at }) {
    const known = runs.get(node);
    const last = known?.marks.at(-1);
    if (!node || (last && (step ?? 0) === last.step)) return;
    // Fewer than before: another attempt, which begins anew.
    if (!last || (step ?? 0) < last.step) runs.set(node, { steps, marks: [{ step: step ?? 0, at }] });
    else {
      known.steps = steps ?? known.steps;
      known.marks.push({ step, at });
    }
  }

  function rows() {
    return [...runs].filter(([, run]) => run.steps && run.marks.length > 1).map(([node, { steps, marks }]) => {
      const [first, second] = marks;
      const apart = first.step === 0 && second.step === 1;
      const from = apart ? second : first;
      const last = marks.at(-1);
      const each = last.step > from.step ? (last.at - from.at) / (last.step - from.step) / 1000 : null;
      return [nameOf(node), `${last.step} of ${steps}`, apart ? seconds((second.at - first.at) / 1000) : "–", seconds(each)];
    });
  }

  return { take, rows };
}

const HEADS = ["sampler", "steps", "the first", "each of the others"];

/** Step times as they stand, or none. */
export function stepTable(rows) {
  return rows.length ? [table("Step times", HEADS, rows)] : [];
}

/** Of a job that has ended: as the doctor has read them in the log. */
export function reportedSteps(report) {
  return (report?.prompts ?? []).flatMap((prompt) => prompt.samplers.map((each, at) => [
    `${at + 1}${each.model_class ? `, ${each.model_class}` : ""}`, String(each.steps), seconds(each.first_step_s), seconds(each.seconds_per_step)]));
}
