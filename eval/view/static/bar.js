// The bar over a trajectory: its group, the same question elsewhere, and how it is shown.

import { el } from "../shared/dom.js";
import { MODES } from "./detail.js";
import { MARKS, VERDICTS } from "./list.js";

/** Draw it for what is open; `acts` has go, back, toggleGroup and setMode. */
export function renderBar(content, { run, uid, beside }, shownMode, acts) {
  const group = content.related.filter((one) => one.is_group);
  const elsewhere = content.related.filter((one) => !one.is_group);
  const dots = group.map((one) =>
    el(
      "button",
      {
        class: one.verdict,
        "aria-current": String(one.uid === uid),
        title: `${VERDICTS[one.verdict]}: ${one.prediction ?? "no answer"}`,
        onclick: () => acts.go(run, one.uid, beside === "group" ? "group" : null),
      },
      MARKS[one.verdict],
    ),
  );
  const others = el(
    "select",
    {
      id: "elsewhere",
      "aria-label": "beside",
      onchange: (event) => {
        const chosen = event.target.value;
        acts.go(run, uid, chosen === "" ? null : elsewhere[Number(chosen)]);
      },
    },
    el("option", { value: "" }, "beside …"),
    elsewhere.map((one, place) =>
      el(
        "option",
        {
          value: place,
          selected: beside?.uid === one.uid && beside?.run === one.run,
        },
        `${MARKS[one.verdict]} ${one.run}${one.step >= 0 ? ` step ${one.step}` : ""}`,
      ),
    ),
  );
  return el(
    "div",
    { class: "bar" },
    el("button", { class: "only-narrow", onclick: acts.back }, "‹ list"),
    group.length > 1 && el("span", { class: "dots", role: "group", "aria-label": "group" }, dots),
    group.length > 1 &&
      el(
        "button",
        { id: "group", "aria-pressed": String(beside === "group"), onclick: acts.toggleGroup },
        "side by side",
      ),
    elsewhere.length > 0 && others,
    el("span", { class: "space" }),
    shownMode !== "text" && content.tokens && renderLegend(shownMode),
    el(
      "span",
      { class: "choice", role: "group", "aria-label": "show" },
      MODES.map((mode) =>
        el(
          "button",
          {
            "data-mode": mode,
            "aria-pressed": String(mode === shownMode),
            onclick: () => acts.setMode(mode),
          },
          mode,
        ),
      ),
    ),
  );
}

function renderLegend(mode) {
  return mode === "mask"
    ? el("span", { class: "legend" }, el("i", { class: "flat" }), "mask 1, trained on")
    : el("span", { class: "legend" }, "sure", el("i"), "surprised");
}
