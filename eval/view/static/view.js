// The viewer: which run and which list, which trajectory beside which, and the keys.

import { count, el, getJson } from "../shared/dom.js";
import { MODES, renderTrajectories } from "./detail.js";
import { List, MARKS, VERDICTS } from "./list.js";

const POLL_MS = 2000;
const byId = (id) => document.getElementById(id);
const form = byId("filters");
const detail = byId("detail");
const state = { runs: [], mode: "text", open: null, beside: null, contents: [], seen: "" };

const list = new List(byId("list"), loadPage, (row) => go(form.run.value, row.uid));

// --- the list ---------------------------------------------------------------------------------

function wish() {
  const { run, words, verdict, searched, source, step, versus, sort } = Object.fromEntries(new FormData(form));
  return {
    run, words, verdict, searched, source, step, versus,
    sort: sort.replace("-", ""), descending: sort.endsWith("-"),
  };
}

async function loadPage(offset, limit) {
  if (!form.run.value) return null;
  return getJson("api/list", { ...wish(), offset, limit });
}

async function refreshList(isSame = false) {
  try {
    const page = await list.reset(isSame);
    if (page) showCount(page);
    list.select(state.open?.uid, isSame ? -1 : undefined);
  } catch (error) {
    byId("count").textContent = error.message;
  }
}

function showCount(page) {
  const run = currentRun();
  const judged = page.total - page.lost;
  const words = [
    page.total === run?.number ? count(page.total, "trajectory") : `${page.total.toLocaleString("en")} of ${run?.number.toLocaleString("en")}`,
    judged > 0 && `${((100 * page.right) / judged).toFixed(1)}% right`,
    page.lost > 0 && `${page.lost} lost`,
    run?.is_reading && "reading …",
  ];
  byId("count").textContent = words.filter(Boolean).join(" · ").replace("trajectorys", "trajectories");
}

function currentRun() {
  return state.runs.find((run) => run.name === form.run.value);
}

/** Ask what there is; the list is drawn again when files have grown. */
async function poll() {
  try {
    state.runs = await getJson("api/runs");
    if (!form.run.options.length) setOptions(form.run, state.runs.map((run) => [run.name, run.name]));
    const seen = JSON.stringify([form.run.value, currentRun()]);
    if (seen !== state.seen) {
      const isSame = state.seen !== "" && JSON.parse(state.seen)[0] === form.run.value;
      state.seen = seen;
      showChoices();
      await refreshList(isSame);
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

function showChoices() {
  const run = currentRun();
  const others = state.runs.filter((one) => one !== run);
  setOptions(form.source, [["", "all questions"], ...(run?.sources ?? []).map((name) => [name, name])]);
  setOptions(form.step, [["", "all steps"], ...(run?.steps ?? []).map((step) => [step, `step ${step}`])]);
  setOptions(form.versus, [["", "compare with …"], ...others.map((one) => [one.name, `unlike ${one.name}`])]);
  form.source.hidden = form.source.options.length < 3;
  form.step.hidden = form.step.options.length < 3;
  form.versus.hidden = !others.length;
}

function setOptions(select, options) {
  const chosen = select.value;
  select.replaceChildren(...options.map(([value, text]) => el("option", { value }, text)));
  if (options.some(([value]) => String(value) === chosen)) select.value = chosen;
}

// --- the open trajectory ------------------------------------------------------------------------

function fragment(run, uid, beside) {
  const one = (name, id) => `${encodeURIComponent(name)}/${encodeURIComponent(id).replaceAll("%2F", "/")}`;
  const more = beside === "group" ? "|group" : beside ? `|${one(beside.run, beside.uid)}` : "";
  return `#${one(run, uid)}${more}`;
}

function parseFragment() {
  const [first, second] = location.hash.slice(1).split("|");
  const parse = (text) => {
    const cut = text.indexOf("/");
    return cut < 0 ? null : { run: decodeURIComponent(text.slice(0, cut)), uid: decodeURIComponent(text.slice(cut + 1)) };
  };
  if (!first) return null;
  const open = parse(first);
  return open && { ...open, beside: second === "group" ? "group" : second ? parse(second) : null };
}

function go(run, uid, beside = null) {
  const target = fragment(run, uid, beside);
  state.open = { run, uid, beside }; // the next key may come before the page has followed
  if (location.hash === target) route();
  else location.hash = target;
}

async function route() {
  const wanted = parseFragment();
  document.body.classList.toggle("is-open", Boolean(wanted));
  state.open = wanted;
  if (!wanted) return showNothing();
  if (form.run.value !== wanted.run && [...form.run.options].some((option) => option.value === wanted.run)) {
    form.run.value = wanted.run;
    state.seen = "";
    showChoices();
    await refreshList();
  }
  list.select(wanted.uid);
  const isSameQuestion = state.contents.some((content) => content.record.uid === wanted.uid);
  try {
    const content = await getJson("api/trajectory", { run: wanted.run, uid: wanted.uid });
    const others = await Promise.all(besides(content, wanted.beside).map((one) => getJson("api/trajectory", one)));
    if (state.open !== wanted) return; // another one was opened meanwhile
    state.contents = [content, ...others];
    draw();
    if (!isSameQuestion) detail.scrollTop = 0;
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
  detail.replaceChildren(el("p", { class: "empty" }, "Choose a trajectory. ", el("kbd", {}, "?"), " shows the keys."));
}

function draw() {
  const [first] = state.contents;
  if (!first) return;
  document.title = `${first.record.question.slice(0, 60)} · Trajectories`;
  detail.replaceChildren(renderBar(first), ...renderTrajectories(inOrder(state.contents), state.mode, state.open.uid));
  const current = detail.querySelector(".current");
  if (current) current.parentNode.scrollLeft = current.offsetLeft - (current.parentNode.clientWidth - current.clientWidth) / 2;
}

/** Keep a group in its own order, so that going through it moves the mark and not the columns. */
function inOrder(contents) {
  if (state.open.beside !== "group") return contents;
  const order = contents[0].related.map((one) => one.uid);
  return [...contents].sort((a, b) => order.indexOf(a.record.uid) - order.indexOf(b.record.uid));
}

function renderBar(content) {
  const { run, uid, beside } = state.open;
  const group = content.related.filter((one) => one.is_group);
  const elsewhere = content.related.filter((one) => !one.is_group);
  const dots = group.map((one) => el("button", {
    class: one.verdict, "aria-current": String(one.uid === uid), title: `${VERDICTS[one.verdict]}: ${one.prediction ?? "no answer"}`,
    onclick: () => go(run, one.uid, beside === "group" ? "group" : null),
  }, MARKS[one.verdict]));
  const others = el("select", { id: "elsewhere", "aria-label": "beside", onchange: (event) => {
    const one = elsewhere[Number(event.target.value)];
    go(run, uid, one ?? null);
  } }, el("option", { value: "" }, "beside …"), elsewhere.map((one, place) => el("option", {
    value: place, selected: beside?.uid === one.uid && beside?.run === one.run,
  }, `${MARKS[one.verdict]} ${one.run}${one.step >= 0 ? ` step ${one.step}` : ""}`)));
  return el("div", { class: "bar" },
    el("button", { class: "only-narrow", onclick: back }, "‹ list"),
    group.length > 1 && el("span", { class: "dots", role: "group", "aria-label": "group" }, dots),
    group.length > 1 && el("button", { id: "group", "aria-pressed": String(beside === "group"), onclick: toggleGroup }, "side by side"),
    elsewhere.length > 0 && others,
    el("span", { class: "space" }),
    state.mode !== "text" && content.tokens && renderLegend(),
    el("span", { class: "choice", role: "group", "aria-label": "show" }, MODES.map((mode) => el("button", {
      "data-mode": mode, "aria-pressed": String(mode === state.mode), onclick: () => setMode(mode),
    }, mode))));
}

function renderLegend() {
  return state.mode === "mask"
    ? el("span", { class: "legend" }, el("i", { class: "flat" }), "mask 1, trained on")
    : el("span", { class: "legend" }, "sure", el("i"), "surprised");
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

// --- keys -----------------------------------------------------------------------------------------

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
  j: () => move(1), ArrowDown: () => move(1), k: () => move(-1), ArrowUp: () => move(-1),
  Enter: () => (state.open ? detail.focus() : move(0)),
  ArrowRight: () => moveInGroup(1), ArrowLeft: () => moveInGroup(-1),
  g: () => state.open && toggleGroup(), c: compare,
  t: () => setMode(MODES[(MODES.indexOf(state.mode) + 1) % MODES.length]),
  "/": () => form.words.select(), "?": () => byId("help").showModal(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
  if (event.key === "Escape") return escape();
  const target = event.target;
  const isTyping = target.form === form || target.tagName === "SELECT" || (target.tagName === "BUTTON" && event.key === "Enter");
  const act = KEYS[event.key];
  if (isTyping || !act || (target === detail && event.key.startsWith("ArrowD")) || (target === detail && event.key === "ArrowUp")) return;
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
    showChoices();
    state.seen = JSON.stringify([form.run.value, currentRun()]);
    back();
  }
  typing = setTimeout(refreshList, event.target === form.words ? 150 : 0);
});
window.addEventListener("hashchange", route);

await poll();
await route();
