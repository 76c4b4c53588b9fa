// A list of any length: only the rows in view exist, and the server is asked for a page at a time.

import { count, el, seconds } from "../shared/dom.js";

const ROW = 54; // px, as in view.css
const PAGE = 100;
export const MARKS = { right: "✓", wrong: "✗", none: "–", lost: "?" };
export const VERDICTS = {
  right: "right",
  wrong: "wrong",
  none: "no answer",
  lost: "lost to infrastructure",
};

export class List {
  /** Show rows in a box; `load(offset, limit)` gives a page, `open(row)` is told of a click. */
  constructor(box, load, open) {
    this.box = box;
    this.load = load;
    this.open = open;
    this.space = el("div");
    box.append(this.space);
    box.addEventListener("scroll", () => this.draw());
    new ResizeObserver(() => this.draw()).observe(box);
    this.reset();
  }

  /** Begin anew with another list; what is shown stays until the first page is there. */
  async reset(isSame = false) {
    this.version = (this.version ?? 0) + 1;
    const version = this.version;
    const first =
      Math.max(0, Math.floor(this.box.scrollTop / ROW / PAGE)) * PAGE * (isSame ? 1 : 0);
    const page = this.load ? await this.load(first, PAGE) : null;
    if (!page || version !== this.version) return null;
    this.pages = new Map([[first / PAGE, page.rows]]);
    this.total = page.total;
    this.space.style.height = `${this.total * ROW}px`;
    if (!isSame) this.box.scrollTop = 0;
    this.draw();
    return page;
  }

  /** Give the row at a place, asking for its page if need be. */
  async at(place) {
    if (place < 0 || place >= this.total) return null;
    const page = Math.floor(place / PAGE);
    if (!this.pages.has(page)) await this.fetchPage(page);
    return this.pages.get(page)?.[place % PAGE] ?? null;
  }

  /** Mark a row as the one that is open, and bring it into view. */
  select(uid, place = this.placeOf(uid)) {
    this.selected = uid;
    if (place >= 0) {
      const top = place * ROW;
      if (top < this.box.scrollTop) this.box.scrollTop = top;
      const over = top + ROW - this.box.scrollTop - this.box.clientHeight;
      if (over > 0) this.box.scrollTop += over;
    }
    this.draw();
  }

  /** Find a trajectory among the rows that were fetched; -1 where it is not. */
  placeOf(uid) {
    for (const [page, rows] of this.pages ?? []) {
      const place = rows.findIndex((row) => row.uid === uid);
      if (place >= 0) return page * PAGE + place;
    }
    return -1;
  }

  async fetchPage(page) {
    const version = this.version;
    this.pages.set(page, []); // asked for once
    const answer = await this.load(page * PAGE, PAGE).catch(() => null);
    if (version !== this.version) return;
    if (!answer) this.pages.delete(page);
    else this.pages.set(page, answer.rows);
    this.draw();
  }

  draw() {
    if (!this.pages) return;
    const first = Math.max(0, Math.floor(this.box.scrollTop / ROW) - 5);
    const last = Math.min(
      this.total,
      Math.ceil((this.box.scrollTop + this.box.clientHeight) / ROW) + 5,
    );
    const nodes = [];
    for (let place = first; place < last; place++) {
      const page = Math.floor(place / PAGE);
      if (!this.pages.has(page)) this.fetchPage(page);
      const row = this.pages.get(page)?.[place % PAGE];
      if (row) nodes.push(this.renderRow(row, place));
    }
    this.space.replaceChildren(...nodes);
  }

  renderRow(row, place) {
    const below = [
      row.versus && `there: ${VERDICTS[row.versus]}`,
      row.prediction ?? VERDICTS[row.verdict],
      row.searches ? count(row.searches, "search", "searches") : null,
      row.step >= 0 && `step ${row.step}`,
      row.source,
      seconds(row.seconds),
    ].filter(Boolean);
    const node = el(
      "div",
      {
        class: "row-item",
        role: "option",
        "aria-selected": String(row.uid === this.selected),
        onclick: () => this.open(row, place),
      },
      el(
        "span",
        { class: `mark ${row.verdict}`, title: VERDICTS[row.verdict] },
        MARKS[row.verdict],
      ),
      el("span", { class: "line question" }, row.question.slice(0, 300)),
      el("span", { class: "muted number" }, row.reward.toFixed(2)),
      el("span", { class: "line below number" }, below.join(" · ").slice(0, 300)),
    );
    node.style.top = `${place * ROW}px`;
    return node;
  }
}
