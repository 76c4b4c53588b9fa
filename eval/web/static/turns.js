// A turn taken apart for reading: thoughts, calls, answer, passages. The record is not changed.

import { addLongText, count, el, seconds } from "./dom.js";

const TAG = /<(think|search|tool_call|answer)>/;
const KINDS = { think: "think", search: "search", tool_call: "search", answer: "answer" };
const PASSAGE = /(^|[\n>])Doc (\d+)\(Title: ([^\n]*?)\) /g;
const RESULT_END = /\s*<\/(?:information|tool_response)>[^]*$/;

/** Cut what a model wrote into parts; one that is not closed yet is open. */
export function partsOf(text) {
  const parts = [];
  const add = (kind, content, isOpen = false) => {
    if (content.trim() || isOpen) parts.push({ kind, text: content.trim(), isOpen });
  };
  for (;;) {
    const match = TAG.exec(text);
    if (!match) break;
    add("text", text.slice(0, match.index));
    const rest = text.slice(match.index + match[0].length);
    const end = rest.indexOf(`</${match[1]}>`);
    if (end < 0) {
      add(KINDS[match[1]], rest, true);
      return parts;
    }
    add(KINDS[match[1]], rest.slice(0, end));
    text = rest.slice(end + match[1].length + 3);
  }
  add("text", text);
  return parts;
}

/** Cut an observation into its passages; null where it does not hold just those it names. */
export function passagesOf(turn) {
  const found = [...turn.observation_text.matchAll(PASSAGE)];
  if (!found.length || found.length !== turn.passage_ids?.length) return null;
  return found.map((match, place) => {
    const start = match.index + match[0].length;
    const end = found[place + 1]?.index ?? turn.observation_text.length;
    const text = turn.observation_text.slice(start, end).replace(RESULT_END, "");
    return { id: turn.passage_ids[place], rank: match[2], title: match[3], text };
  });
}

/** Show one part: its word on the left, its text on the right. */
export function renderPart({ kind, text, isOpen }, word = kind === "text" ? "wrote" : kind) {
  const body = el("div", { class: "body", dir: "auto" });
  addLongText(body, text);
  return el(
    "div",
    { class: `part ${kind}${isOpen ? " open" : ""}` },
    el("span", { class: "word" }, word),
    body,
  );
}

/** Show what a turn was given: passages, or another observation as it is. */
export function renderObservation(turn) {
  if (!turn.observation_text) return [];
  const passages = passagesOf(turn);
  if (!passages)
    return [renderPart({ kind: "passage", text: turn.observation_text.trim() }, "was given")];
  return passages.map((passage) => {
    const body = el(
      "div",
      { class: "body", dir: "auto" },
      el("span", { class: "title" }, passage.title),
    );
    addLongText(body, passage.text);
    return el(
      "div",
      { class: "part passage" },
      el("span", { class: "word" }, `passage ${passage.rank}`),
      body,
    );
  });
}

/** Say what a turn took and what was wrong with it. */
export function renderTurnHeader(turn, number) {
  const facts = [count(turn.num_ids, "token"), seconds(turn.generate_s)];
  if (turn.calls?.length)
    facts.push(`${turn.calls.map((call) => call.name).join(", ")} ${seconds(turn.tool_s)}`);
  const odd = [
    turn.opening && `made to begin with ${turn.opening}`,
    turn.is_malformed_call && "malformed call",
    turn.error,
    turn.stop_reason === "length" && "cut off by its token budget",
    turn.observation_truncated && "passages cut to fit",
    ...(turn.calls ?? [])
      .filter((call) => call.status !== "ok")
      .map((call) => `${call.name}: ${call.status}`),
  ].filter(Boolean);
  return el(
    "header",
    {},
    el("b", {}, `Turn ${number}`),
    [...facts, ...odd].map((fact) => el("span", { class: "number" }, fact)),
  );
}

/** Show a whole turn. */
export function renderTurn(turn, number) {
  const wrote = partsOf((turn.opening ?? "") + turn.model_text).map((part) =>
    renderPart({ ...part, isOpen: false }),
  );
  return el(
    "section",
    { class: "turn" },
    renderTurnHeader(turn, number),
    wrote,
    renderObservation(turn),
  );
}
