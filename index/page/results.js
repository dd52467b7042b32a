// The pictures found: a page at a time, the next one when the end comes near.

import { card, dress } from "./card.js";
import { byId, count, el, say, some } from "./dom.js";
import { GridKeys } from "./grid-keys.js";
import { sayHidden } from "./hidden.js";
import { PAGE, asks, rows } from "./query.js";

export class Results {
  constructor(page) {
    this.page = page;
    this.list = byId("results");
    this.end = byId("more");
    this.keys = new GridKeys(this.list, page);
    this.observer = new IntersectionObserver((seen) => seen[0].isIntersecting && this.more(), {
      rootMargin: "900px",
    });
    this.fetched = []; // rows, as they came
    this.answered = null; // the state that they answer; another one may be asked meanwhile
    this.clear();
  }

  /** Stop; what is there stays to be seen until the next answer comes. */
  clear() {
    this.running?.abort();
    this.running = null;
    this.hidden = {};
    this.first = true;
    this.done = true;
    this.observer.disconnect();
  }

  /** Look for what the state asks. */
  async run(state) {
    this.clear();
    this.state = state;
    this.done = false;
    this.list.setAttribute("aria-busy", "true");
    await this.more();
  }

  async more() {
    if (this.done || this.running) return;
    const running = (this.running = new AbortController());
    const { first } = this;
    const skip = first ? 0 : this.fetched.length;
    const left = this.page.maxHits - skip;
    const k = Math.min(PAGE, left);
    try {
      const found = await rows(this.page.client, this.state, k, skip, running.signal);
      if (running !== this.running) return;
      if (first) this.begin(found);
      this.done = found.rows.length < k || left <= k;
      this.add(found.rows);
      this.page.failed(null);
    } catch (error) {
      if (error.name === "AbortError" || running !== this.running) return;
      this.done = true;
      if (first) this.begin({ rows: [], hidden: {} });
      this.page.failed(error);
    }
    this.running = null;
    this.list.removeAttribute("aria-busy");
    this.watch();
  }

  begin(found) {
    this.first = false;
    this.answered = this.state;
    this.fetched = [];
    this.total = found.total;
    this.took = found.took;
    this.hidden = { ...found.hidden };
    this.seen = new Set();
    this.keys.forget();
    this.list.replaceChildren();
    scrollTo({ top: 0 });
  }

  add(found) {
    this.fetched.push(...found);
    this.list.append(...found.map((row) => this.item(row)).filter(Boolean));
    this.keys.rove();
    this.sayAll();
  }

  /** A row's card; null where one of its address is there already. */
  item(row) {
    if (row.url && this.page.store.state.hideUrls && this.seen.has(row.url)) {
      this.hide("url");
      return null;
    }
    this.seen.add(row.url);
    const item = card(row, this.page, () => {
      item.hidden = true;
      this.hide("broken");
      this.sayAll();
    });
    return item;
  }

  hide(reason) {
    this.hidden[reason] = (this.hidden[reason] ?? 0) + 1;
  }

  /** Show anew what is there, as the display's toggles say; asks for nothing. */
  redo() {
    const fetched = this.fetched;
    const { url, broken, ...hidden } = this.hidden;
    this.fetched = [];
    this.hidden = hidden;
    this.seen = new Set();
    this.keys.forget();
    this.list.replaceChildren();
    this.add(fetched);
    this.watch();
  }

  dress(state) {
    for (const item of this.list.children) dress(item, this.row(item.dataset.key), state);
  }

  row(key) {
    return this.fetched.find((row) => row.key === key);
  }

  /** The rows that are seen, in order. */
  get shown() {
    return this.keys.cards.map((item) => this.row(item.dataset.key));
  }

  /** Ask for the next page once the end is near. */
  watch() {
    this.observer.disconnect();
    if (!this.done) this.observer.observe(this.end);
    say(this.end, this.done ? "" : "…");
    this.end.hidden = this.done;
  }

  sayAll() {
    sayHidden(this.hidden, this.page);
    byId("actions").hidden = !this.fetched.length;
    byId("status").replaceChildren(...this.said());
  }

  said() {
    const number = this.list.querySelectorAll(".card:not([hidden])").length;
    if (!this.answered) return [];
    if (!asks(this.answered)) {
      const there = some(this.total ?? number, "row");
      return [el("b", {}, there), this.answered.where.trim() ? " meet the condition" : " can be shown"];
    }
    if (!number) return ["Nothing found. Other words, or fewer filters?"];
    const took = this.took ? ` · ${this.took < 10 ? this.took.toFixed(1) : count(Math.round(this.took))} ms` : "";
    return [el("b", {}, `${count(number)} nearest`), took];
  }
}
