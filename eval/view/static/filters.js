// The form over the list: what it asks for, and what can be chosen in it.

import { count, el } from "../shared/dom.js";

/** Give what the form asks for, as the API names it. */
export function wishOf(form) {
  const { run, words, verdict, searched, source, step, versus, sort } = Object.fromEntries(
    new FormData(form),
  );
  return {
    run,
    words,
    verdict,
    searched,
    source,
    step,
    versus,
    sort: sort.replace("-", ""),
    descending: sort.endsWith("-"),
  };
}

/** Offer what a run holds, and the other runs to compare it with. */
export function showChoices(form, runs, run) {
  const others = runs.filter((one) => one !== run);
  setOptions(form.source, [
    ["", "all questions"],
    ...(run?.sources ?? []).map((name) => [name, name]),
  ]);
  setOptions(form.step, [
    ["", "all steps"],
    ...(run?.steps ?? []).map((step) => [step, `step ${step}`]),
  ]);
  setOptions(form.versus, [
    ["", "compare with …"],
    ...others.map((one) => [one.name, `unlike ${one.name}`]),
  ]);
  form.source.hidden = form.source.options.length < 3;
  form.step.hidden = form.step.options.length < 3;
  form.versus.hidden = !others.length;
}

/** Put options into a select; what was chosen stays chosen where it is still there. */
export function setOptions(select, options) {
  const chosen = select.value;
  select.replaceChildren(...options.map(([value, text]) => el("option", { value }, text)));
  if (options.some(([value]) => String(value) === chosen)) select.value = chosen;
}

/** Say how many the list holds, and how they ended. */
export function countWords(page, run) {
  const judged = page.total - page.lost;
  const isAll = !run || page.total >= run.number; // more, while the file is being read
  const words = [
    isAll
      ? count(page.total, "trajectory", "trajectories")
      : `${page.total.toLocaleString("en")} of ${run.number.toLocaleString("en")}`,
    judged > 0 && `${((100 * page.right) / judged).toFixed(1)}% right`,
    page.lost > 0 && `${page.lost} lost`,
    run?.is_reading && "reading …",
  ];
  return words.filter(Boolean).join(" · ");
}
