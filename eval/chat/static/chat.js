// The chat: a question goes out, and its answer comes back event by event.

import { addLongText, addText, count, el, getJson, reasonOf, seconds } from "../shared/dom.js";
import { partsOf, renderObservation, renderPart, renderTurnHeader } from "../shared/turns.js";

const form = document.getElementById("ask");
const thread = document.getElementById("thread");
const stop = document.getElementById("stop");
const send = document.getElementById("send");
const methodSelect = form.querySelector("[name=method]"); // form.method is the form's own
let methods = [];
let running = null;

/** Yield the events of an answer as they arrive. */
async function* eventsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const whole = (held + value).split("\n\n");
    held = whole.pop();
    for (const event of whole) yield JSON.parse(event.slice("data: ".length));
  }
}

/** One question and all that came of it. */
class Exchange {
  constructor(question, how) {
    this.status = el("p", { class: "waiting" }, "…");
    this.node = el(
      "section",
      { class: "exchange" },
      el("h1", { dir: "auto" }, question),
      el("p", { class: "how" }, how),
      this.status,
    );
    this.turns = new Map();
    thread.querySelector(".empty")?.remove();
    thread.append(this.node);
    follow(true);
  }

  show(event) {
    if (event.type === "loading") this.say(`loading ${event.model} …`);
    else if (event.type === "error") this.fail(event.message);
    else if (event.type === "text") this.grow(event);
    else if (event.type === "turn") this.settle(event);
    else this.finish(event);
    follow();
  }

  say(text) {
    this.status.replaceChildren();
    addText(this.status, text);
  }

  fail(message) {
    this.status.replaceWith(el("p", { class: "notice" }, message));
  }

  /** Give the turn of an event, begun where it is new. */
  turnOf(number) {
    if (!this.turns.has(number)) {
      const turn = { text: "", wrote: el("div"), read: el("div", { class: "read" }) };
      turn.node = el(
        "section",
        { class: "turn" },
        el("header", {}, el("b", {}, `Turn ${number}`)),
        turn.wrote,
        turn.read,
      );
      this.status.before(turn.node);
      this.say("");
      this.turns.set(number, turn);
    }
    return this.turns.get(number);
  }

  grow({ turn: number, text }) {
    const turn = this.turnOf(number);
    turn.text += text;
    const parts = partsOf(turn.text);
    const last = parts.at(-1);
    const isCall = last?.kind === "search" && !last.isOpen;
    if (last && !isCall && last.kind !== "answer") last.isOpen = true;
    turn.wrote.replaceChildren(...parts.map((part) => renderPart(part)));
    turn.read.replaceChildren(...(isCall ? [el("p", { class: "waiting" }, "searching …")] : []));
  }

  settle({ turn: number, record }) {
    const turn = this.turnOf(number);
    const parts = partsOf(record.opening + record.model_text).map((part) => ({
      ...part,
      isOpen: false,
    }));
    turn.node.querySelector("header").replaceWith(renderTurnHeader(record, number));
    turn.wrote.replaceChildren(...parts.map((part) => renderPart(part)));
    turn.read.replaceChildren(...renderObservation(record));
  }

  finish(event) {
    if (event.given) {
      const given = el("div", { class: "given", dir: "auto" });
      addLongText(given, `Given with the question:\n${event.given}`);
      this.node.querySelector(".how").after(given);
    }
    const answer = el("span", { class: "answer", dir: "auto" });
    addLongText(
      answer,
      event.prediction ?? `No answer: ${event.stop_reason.replaceAll("_", " ")}.`,
    );
    const facts = [
      count(event.searches, "search", "searches"),
      count(event.tokens, "token"),
      seconds(event.seconds),
      event.problem,
    ];
    this.status.replaceWith(
      el(
        "p",
        { class: "verdict" },
        answer,
        el("span", { class: "muted number" }, facts.filter(Boolean).join(" · ")),
      ),
    );
    this.isOver = true;
  }
}

/** Keep the newest in view, unless somebody has scrolled up to read. */
function follow(isForced = false) {
  if (isForced || thread.scrollHeight - thread.scrollTop - thread.clientHeight < 160)
    thread.scrollTop = thread.scrollHeight;
}

async function ask(asked) {
  const exchange = new Exchange(
    asked.question,
    `${asked.model} · ${asked.method} · ${asked.decoding}`,
  );
  running = new AbortController();
  setRunning(true);
  try {
    const response = await fetch("api/ask", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(asked),
      signal: running.signal,
    });
    if (!response.ok) throw new Error(await reasonOf(response));
    for await (const event of eventsOf(response)) exchange.show(event);
    if (!exchange.isOver && exchange.status.isConnected)
      exchange.fail("The answer broke off; the server's terminal says why.");
  } catch (error) {
    exchange.fail(error.name === "AbortError" ? "Stopped." : error.message);
  } finally {
    setRunning(false);
  }
}

function setRunning(isRunning) {
  stop.hidden = !isRunning;
  send.hidden = isRunning;
}

function showHint() {
  document.getElementById("hint").textContent =
    methods.find((one) => one.name === methodSelect.value)?.what ?? "";
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const asked = Object.fromEntries(new FormData(form));
  if (!asked.question.trim() || !stop.hidden) return;
  form.question.value = "";
  ask(asked);
});
stop.addEventListener("click", () => running?.abort());
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !stop.hidden) running?.abort();
  if (event.key === "/" && document.activeElement !== form.question) {
    event.preventDefault();
    form.question.focus();
  }
});

methodSelect.addEventListener("change", showHint);
const known = await getJson("api/models");
methods = known.methods;
form.model.replaceChildren(...known.models.map((name) => el("option", { value: name }, name)));
methodSelect.replaceChildren(...methods.map(({ name }) => el("option", { value: name }, name)));
showHint();
