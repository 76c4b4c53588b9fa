// The viewer: which run and which list, which trajectory beside which, and the keys.

import { el, getJson } from "../shared/dom.js";
import { fragmentOf, parseFragment } from "./address.js";
import { renderBar } from "./bar.js";
import { MODES, renderTrajectories } from "./detail.js";
import { countWords, setOptions, showChoices, wishOf } from "./filters.js";
import { List } from "./list.js";

const POLL_MS = 2000;
const byId = (id) => document.getElementById(id);
const form = byId("filters");
const detail = byId("detail");
const state = { runs: [], mode: "text", open: null, contents: [], seen: "" };

const list = new List(byId("list"), loadPage, (row) => go(form.run.value, row.uid));

// --- the list ---------------------------------------------------------------------------------

async function loadPage(offset, limit) {
  if (!form.run.value) return null;
  return getJson("api/list", { ...wishOf(form), offset, limit });
}

async function refreshList(isSame = false) {
  try {
    const page = await list.reset(isSame);
    if (page) byId("count").textContent = countWords(page, currentRun());
    list.select(state.open?.uid, isSame ? -1 : undefined);
  } catch (error) {
    byId("count").textContent = error.message;
  }
}

function currentRun() {
  return state.runs.find((run) => run.name === form.run.value);
}

/** Ask what there is; the list is drawn again when files have grown. */
async function poll() {
  try {
    state.runs = await getJson("api/runs");
    const names = state.runs.map((run) => [run.name, run.name]);
    if (!form.run.options.length) setOptions(form.run, names);
    const seen = JSON.stringify([form.run.value, currentRun()]);
    if (seen !== state.seen) {
      const isSame = state.seen !== "" && JSON.parse(state.seen)[0] === form.run.value;
      state.seen = seen;
      showChoices(form, state.runs, currentRun());
      await refreshList(isSame);
      if (state.open && !state.contents.length) await route(); // it may have been read by now
    }
    showNotes(currentRun()?.notes ?? []);
  } catch {
    showNotes(["The server does not answer; start python -m eval.view again."]);
  }
  setTimeout(poll, state.runs.some((run) => run.is_reading) ? 300 : POLL_MS);
}

function showNotes(notes) {
  byId("notes").replaceChildren(...notes.map((note) => el("p", { class: "notice" }, note)));
}

// --- the open trajectory ------------------------------------------------------------------------

function go(run, uid, beside = null) {
  const target = fragmentOf(run, uid, beside);
  state.open = { run, uid, beside }; // the next key may come before the page has followed
  if (location.hash === target) route();
  else location.hash = target;
}

async function route() {
  const wanted = parseFragment(location.hash);
  document.body.classList.toggle("is-open", Boolean(wanted));
  state.open = wanted;
  if (!wanted) return showNothing();
  if (
    form.run.value !== wanted.run &&
    [...form.run.options].some((option) => option.value === wanted.run)
  ) {
    form.run.value = wanted.run;
    state.seen = "";
    showChoices(form, state.runs, currentRun());
    await refreshList();
  }
  list.select(wanted.uid);
  const isShown = state.contents.some((content) => content.record.uid === wanted.uid);
  try {
    const content = await getJson("api/trajectory", { run: wanted.run, uid: wanted.uid });
    const others = await Promise.all(
      besides(content, wanted.beside).map((one) => getJson("api/trajectory", one)),
    );
    if (state.open !== wanted) return; // another one was opened meanwhile
    state.contents = [content, ...others];
    draw();
    if (!isShown) detail.scrollTop = 0;
  } catch (error) {
    if (state.open !== wanted) return;
    state.contents = [];
    detail.replaceChildren(el("p", { class: "empty" }, error.message));
  }
}

function besides(content, beside) {
  if (!beside) return [];
  const group = content.related.filter((one) => one.is_group && one.uid !== content.record.uid);
  return (beside === "group" ? group : [beside]).map(({ run, uid }) => ({ run, uid }));
}

function showNothing() {
  state.contents = [];
  list.selected = null;
  detail.replaceChildren(
    el("p", { class: "empty" }, "Choose a trajectory. ", el("kbd", {}, "?"), " shows the keys."),
  );
}

function draw() {
  const [first] = state.contents;
  if (!first) return;
  document.title = `${first.record.question.slice(0, 60)} · Trajectories`;
  detail.replaceChildren(
    renderBar(first, state.open, state.mode, { go, back, toggleGroup, setMode }),
    ...renderTrajectories(inOrder(state.contents), state.mode, state.open.uid),
  );
  const current = detail.querySelector(".current");
  if (current)
    current.parentNode.scrollLeft =
      current.offsetLeft - (current.parentNode.clientWidth - current.clientWidth) / 2;
}

/** Keep a group in its own order, so that going through it moves the mark and not the columns. */
function inOrder(contents) {
  if (state.open.beside !== "group") return contents;
  const order = contents[0].related.map((one) => one.uid);
  return [...contents].sort((a, b) => order.indexOf(a.record.uid) - order.indexOf(b.record.uid));
}

function setMode(mode) {
  state.mode = mode;
  draw();
}

function toggleGroup() {
  const { run, uid, beside } = state.open;
  go(run, uid, beside === "group" ? null : "group");
}

function back() {
  history.replaceState(null, "", location.pathname + location.search);
  route();
}

// --- keys -----------------------------------------------------------------------------------

async function move(by) {
  const place = list.placeOf(list.selected);
  const row = await list.at(place < 0 ? 0 : place + by);
  if (row) {
    list.select(row.uid, place < 0 ? 0 : place + by);
    go(form.run.value, row.uid);
  }
}

function moveInGroup(by) {
  const group = state.contents[0]?.related.filter((one) => one.is_group) ?? [];
  const place = group.findIndex((one) => one.uid === state.open?.uid);
  const next = group[place + by];
  if (next) go(state.open.run, next.uid, state.open.beside === "group" ? "group" : null);
}

function compare() {
  const { run, uid, beside } = state.open ?? {};
  const other = state.contents[0]?.related.find((one) => !one.is_group);
  if (other) go(run, uid, beside && beside !== "group" ? null : other);
}

function escape() {
  if (document.activeElement?.form === form) return byId("list").focus();
  if (state.open?.beside) return go(state.open.run, state.open.uid);
  back();
  byId("list").focus();
}

const KEYS = {
  j: () => move(1),
  ArrowDown: () => move(1),
  k: () => move(-1),
  ArrowUp: () => move(-1),
  Enter: () => (state.open ? detail.focus() : move(0)),
  ArrowRight: () => moveInGroup(1),
  ArrowLeft: () => moveInGroup(-1),
  g: () => state.open && toggleGroup(),
  c: compare,
  t: () => setMode(MODES[(MODES.indexOf(state.mode) + 1) % MODES.length]),
  "/": () => form.words.select(),
  "?": () => byId("help").showModal(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
  if (event.key === "Escape") return escape();
  const target = event.target;
  const isTyping =
    target.form === form ||
    target.tagName === "SELECT" ||
    (target.tagName === "BUTTON" && event.key === "Enter");
  const act = KEYS[event.key];
  const isScrolling = target === detail && ["ArrowDown", "ArrowUp"].includes(event.key);
  if (isTyping || isScrolling || !act) return;
  event.preventDefault();
  act();
});

form.addEventListener("submit", (event) => {
  event.preventDefault();
  byId("list").focus();
});
let typing;
form.addEventListener("input", (event) => {
  clearTimeout(typing);
  if (event.target === form.run) {
    for (const name of ["source", "step", "versus"]) form[name].value = "";
    showChoices(form, state.runs, currentRun());
    state.seen = JSON.stringify([form.run.value, currentRun()]);
    back();
  }
  typing = setTimeout(refreshList, event.target === form.words ? 150 : 0);
});
window.addEventListener("hashchange", route);

await poll();
await route();
