// One trajectory: question, verdict, reward parts, times, then turn after turn.

import { addLongText, count, el, seconds } from "../shared/dom.js";
import { renderTurn, renderTurnHeader } from "../shared/turns.js";
import { VERDICTS } from "./list.js";

const SHOWN_TOKENS = 6000; // of a trajectory at first
const SHOWN_GOLDS = 3;
const SHOWN_METADATA = [
  "data_source",
  "knowledge",
  "model",
  "method",
  "retriever_error",
  "tool_error",
];
const SURPRISE = 6; // nats at which the shade is full
export const MODES = ["text", "mask", "logprob"];

/** Show one trajectory, or several of one question in columns; `mode` is one of MODES. */
export function renderTrajectories(contents, mode, currentUid) {
  const [{ record }] = contents;
  const head = el(
    "header",
    { class: "head" },
    el("h1", { dir: "auto" }, record.question.slice(0, 2000)),
    renderGolds(record),
  );
  const columns = contents.map((content) =>
    renderTrajectory(content, mode, contents.length > 1 && content.record.uid === currentUid),
  );
  return [head, contents.length > 1 ? el("div", { class: "columns" }, columns) : columns[0]];
}

function renderTrajectory(content, mode, isCurrent) {
  const { record, summary } = content;
  const isByToken = mode !== "text" && content.tokens;
  return el(
    "article",
    { class: `trajectory${isCurrent ? " current" : ""}`, "data-uid": record.uid },
    el(
      "p",
      { class: "where" },
      [content.run, record.step >= 0 && `step ${record.step}`, record.uid]
        .filter(Boolean)
        .join("  ·  "),
    ),
    renderVerdict(record, summary),
    renderTimes(record.turns),
    renderPrompt(content),
    mode !== "text" && !content.tokens && el("p", { class: "notice" }, content.missing),
    record.turns.map((turn, place) =>
      isByToken ? renderTokens(content, turn, place + 1, mode) : renderTurn(turn, place + 1),
    ),
  );
}

function renderGolds({ gold_answers: golds }) {
  const line = el("p", { class: "golds", dir: "auto" }, el("span", { class: "muted" }, "gold "));
  addLongText(line, golds.slice(0, SHOWN_GOLDS).join(" or "));
  if (golds.length > SHOWN_GOLDS) {
    const rest = el("button", { class: "quiet" }, `and ${golds.length - SHOWN_GOLDS} more`);
    rest.addEventListener("click", () =>
      rest.replaceWith(el("span", {}, ` or ${golds.slice(SHOWN_GOLDS).join(" or ")}`)),
    );
    line.append(" ", rest);
  }
  return line;
}

function renderVerdict(record, summary) {
  const prediction = el("dd", { class: "answer", dir: "auto" });
  addLongText(prediction, record.prediction ?? "none");
  const rewards = Object.entries(record.reward)
    .filter(([name, value]) => value || name === "em")
    .filter(([name]) => name !== "total")
    .map(([name, value]) => [name.replaceAll("_", " "), round(value)]);
  const facts = [
    ["", count(summary.tokens, "token") + " written"],
    ["", `${record.prompt_ids.length + record.response_mask.filter((mask) => !mask).length} read`],
    ["", seconds(summary.seconds)],
    ...Object.entries(record.metadata)
      .filter(([name, value]) => SHOWN_METADATA.includes(name) && value)
      .map(([name, value]) => [name.replaceAll("_", " "), value]),
  ];
  return el(
    "dl",
    { class: "verdict" },
    el("dt", {}, "answer"),
    prediction,
    el("dt", {}, "verdict"),
    el(
      "dd",
      {},
      el("span", { class: `mark ${summary.verdict}` }, VERDICTS[summary.verdict]),
      el("span", { class: "muted" }, `, ended by ${summary.stop_reason.replaceAll("_", " ")}`),
    ),
    el("dt", {}, "reward"),
    el(
      "dd",
      { class: "facts number" },
      el("b", {}, round(record.reward.total)),
      rewards.map(renderFact),
    ),
    el("dt", {}, "record"),
    el("dd", { class: "facts number" }, facts.map(renderFact)),
  );
}

function renderFact([name, value]) {
  return el("span", {}, name ? `${name} ` : "", value);
}

function round(value) {
  return value == null ? "–" : String(Math.round(value * 1000) / 1000);
}

/** Draw where the time went: generation in the accent, tools in grey, one stretch a turn. */
function renderTimes(turns) {
  const bar = el("div", { class: "times", role: "img", "aria-label": "time of each turn" });
  const total = turns.reduce((sum, turn) => sum + turn.generate_s + turn.tool_s, 0);
  turns.forEach((turn, place) => {
    for (const [kind, value] of [
      ["generate", turn.generate_s],
      ["tool", turn.tool_s],
    ]) {
      if (!value) continue;
      const stretch = el("i", {
        class: kind,
        title: `turn ${place + 1}, ${kind}: ${seconds(value)}`,
      });
      stretch.style.flexGrow = value / total;
      bar.append(stretch);
    }
  });
  return total ? bar : null;
}

function renderPrompt(content) {
  const { record } = content;
  const body = el("pre", { dir: "auto" });
  if (content.prompt == null) addLongText(body, content.missing);
  else addLongText(body, content.prompt);
  return el(
    "details",
    { class: "prompt" },
    el("summary", {}, `Prompt · ${count(record.prompt_ids.length, "token")}`),
    body,
  );
}

/** Show a turn token by token: what the model wrote shaded, what it was given not. */
function renderTokens(content, turn, number, mode) {
  const end = turn.start + turn.num_ids + turn.num_observation_ids;
  const body = el("div", { class: "tokens", dir: "auto" });
  const add = (from, to) => {
    for (let place = from; place < to; place++) body.append(renderToken(content, place, mode));
  };
  const cut = Math.min(end, turn.start + SHOWN_TOKENS);
  add(turn.start, cut);
  if (cut < end) {
    const rest = el("button", { class: "fold" }, `show ${count(end - cut, "more token")}`);
    rest.addEventListener("click", () => {
      rest.remove();
      add(cut, end);
    });
    body.append(rest);
  }
  return el("section", { class: "turn" }, renderTurnHeader(turn, number), body);
}

function renderToken({ record, tokens }, place, mode) {
  const isWritten = record.response_mask[place] === 1;
  const logprob = record.response_logprobs?.[place];
  const id = record.response_ids[place];
  const chance =
    logprob == null ? "none" : `${logprob.toFixed(3)}, p ${Math.exp(logprob).toFixed(3)}`;
  const tip = isWritten ? `id ${id}, logprob ${chance}` : `id ${id}, given`;
  const node = el("span", { class: isWritten ? "written" : "given", title: tip }, tokens[place]);
  if (isWritten && mode === "logprob") {
    const share = logprob == null ? 100 : Math.min(100, (-logprob / SURPRISE) * 100);
    node.style.setProperty("--share", `${share.toFixed(1)}%`);
  }
  return node;
}
