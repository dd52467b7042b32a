// The pictures found: a page at a time, the next one when somebody scrolls towards the end. What is
// there stays until the next answer comes, and comes back as it was left.

import { CardWindow } from "./card-window.js";
import { card, dress } from "./card.js";
import { byId, count, el, some } from "./dom.js";
import { GridKeys } from "./grid-keys.js";
import { sayHidden } from "./hidden.js";
import { retryPictures } from "./pictures.js";
import { PAGE, asks, enough, rows } from "./query.js";
import { askedOf } from "./state.js";

const NEAR_PX = 900; // to the end of the list: the next page is asked for
const SLOW_MS = 300; // until it is said that something is searched
const KEPT = 8; // lists that were left and can be returned to
const MOST = 1000; // rows that are asked for at once where a list is returned to
const LARGEST = 200; // rows of a page further down, where one scrolls fast

export class Results {
  constructor(page) {
    this.page = page;
    this.list = byId("results");
    this.end = byId("more");
    this.window = new CardWindow(this.list, (row) => this.item(row), (cards) => this.came(cards));
    this.keys = new GridKeys(this.list, page);
    this.fetched = []; // rows, as they came
    this.answered = null; // the state that they answer; another one may be asked meanwhile
    this.left = new Map(); // lists by what was asked
    this.top = 0;
    addEventListener("scroll", () => this.scrolled(), { passive: true });
    this.end.addEventListener("click", () => this.more());
    this.clear();
  }

  /** Stop; what is there stays to be seen until the next answer comes. */
  clear() {
    this.running?.abort();
    this.running = null;
    this.hidden = this.hidden ?? {};
    this.first = true;
    this.done = true;
    this.list.removeAttribute("aria-busy");
  }

  /** Nothing is there, since nothing is asked. */
  empty() {
    this.clear();
    this.begin({ rows: [], hidden: {} });
    this.answered = null;
    this.sayAll();
  }

  /** Forget the lists that were left: rows have changed. */
  forget() {
    this.left.clear();
  }

  /** Where the list is: how many rows, how far scrolled, which one has the focus. */
  get place() {
    const { key } = this.keys;
    return { shown: this.fetched.length, top: scrollY, key, anchor: this.window.anchor };
  }

  /** Look for what the state asks; return to a place of it, if it was left there. */
  async run(state, place = null) {
    if (this.answered && !this.first) this.remember();
    this.clear();
    this.state = state;
    this.done = false;
    const kept = place && this.left.get(askedOf(state));
    if (kept) {
      this.begin(kept);
      this.done = kept.done;
      this.add(kept.rows);
    } else {
      this.list.setAttribute("aria-busy", "true");
      await this.more(place ? Math.min(MOST, Math.max(PAGE, place.shown)) : enough());
    }
    if (place && this.state === state && !this.first) this.returnTo(place);
    this.watch();
  }

  remember() {
    const { fetched, hidden, total, took, done } = this;
    const { url, broken, ...counted } = hidden; // counted anew as the cards are made
    this.left.delete(askedOf(this.answered));
    this.left.set(askedOf(this.answered), { rows: fetched, hidden: counted, total, took, done });
    if (this.left.size > KEPT) this.left.delete(this.left.keys().next().value);
  }

  returnTo({ top, key, anchor }) {
    scrollTo({ top });
    if (anchor && this.list.classList.contains("windowed")) this.window.returnTo(anchor);
    this.top = scrollY;
    const card = key && this.window.card(key);
    if (card) this.keys.rove(card);
    if (card && document.activeElement === document.body) {
      card.querySelector(".open").focus({ preventScroll: true });
    }
  }

  /** Fetch the next rows. */
  async more(wanted = Math.min(LARGEST, PAGE * Math.ceil((this.fetched.length + 1) / MOST * 4))) {
    if (this.done || this.running) return;
    const running = (this.running = new AbortController());
    const { first } = this;
    const skip = first ? 0 : this.fetched.length;
    const left = this.page.maxHits - skip;
    const k = Math.min(wanted, left);
    const slow = setTimeout(() => this.saySearching(first), SLOW_MS);
    this.again = false;
    try {
      const early = first ? await this.page.answeredEarly(this.state, k) : null;
      const found = early ?? (await rows(this.page.client, this.state, k, skip, running.signal));
      if (running !== this.running) return;
      if (first) this.begin(found);
      this.done = found.rows.length < k || left <= k;
      this.add(found.rows);
      if (first) this.page.searches.remember(this.state);
      this.page.failed(null);
      retryPictures();
    } catch (error) {
      if (error.name === "AbortError" || running !== this.running) return;
      this.refused(error, first);
    } finally {
      clearTimeout(slow);
    }
    this.running = null;
    this.list.removeAttribute("aria-busy");
    this.watch();
    if (this.again) this.scrolled(true); // it was scrolled on meanwhile
  }

  /** An answer that is none: what is there stays, unless it would pass for the answer. */
  refused(error, first) {
    if (!error.passes && first) {
      this.begin({ rows: [], hidden: {} });
      this.done = true;
      this.answered = null;
    }
    this.sayAll();
    this.page.failed(error, () => (first ? this.page.again() : this.more()));
  }

  begin(found) {
    const within = this.list.contains(document.activeElement) && document.activeElement !== this.list;
    this.first = false;
    this.answered = this.state;
    this.fetched = [];
    this.byKey = new Map();
    this.total = found.total;
    this.took = found.took;
    this.hidden = { ...found.hidden };
    this.seen = new Set();
    this.keys.forget();
    this.window.clear();
    if (within) this.list.focus({ preventScroll: true }); // what had it is gone
    scrollTo({ top: 0 });
    this.top = 0;
  }

  add(found) {
    this.fetched.push(...found);
    for (const row of found) this.byKey.set(row.key, row);
    this.window.push(found.filter((row) => this.isNew(row)));
    this.window.sayTotal(this.done ? this.window.rows.length : -1);
    this.keys.rove();
    if (this.page.picked.rows.size) this.page.picked.show();
    this.sayAll();
    this.page.beside?.mark();
  }

  /** Whether a row is shown: none of its address is there already. */
  isNew(row) {
    const there = row.url && this.page.store.state.hideUrls && this.seen.has(row.url);
    if (there) this.hide("url");
    this.seen.add(row.url);
    return !there;
  }

  /** A row's card. */
  item(row) {
    return card(row, this.page, () => {
      this.window.remove(row.key);
      this.hide("broken");
      this.keys.rove();
      this.sayAll();
    });
  }

  /** Cards came into the document: the one that can be tabbed to may be among them. */
  came(cards) {
    const current = cards.find((one) => one.dataset.key === this.keys.key);
    if (current) this.keys.rove(current);
    if (this.list.classList.contains("windowed")) this.page.beside.mark();
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
    this.window.clear();
    this.add(fetched);
    this.watch();
  }

  dress(state) {
    for (const item of this.list.children) dress(item, this.row(item.dataset.key), state);
    this.window.measureAnew();
  }

  row(key) {
    return this.byKey?.get(key);
  }

  /** The rows that are seen, in order. */
  get shown() {
    return this.window.rows;
  }

  /** Ask for the next page once somebody scrolls down towards the end.
   *
   * Not because the end has come nearer by itself, as where cards are hidden above it.
   */
  scrolled(on = scrollY > this.top) {
    this.top = scrollY;
    if (!on || this.done) return;
    if (this.end.getBoundingClientRect().top > innerHeight + NEAR_PX) return;
    if (this.running) this.again = true;
    else this.more();
  }

  /** Offer the next page, if there is one. */
  watch() {
    this.end.hidden = this.done || this.first;
  }

  saySearching(first) {
    byId("status").replaceChildren("Searching…");
    if (!first) this.end.setAttribute("aria-busy", "true");
  }

  sayAll() {
    this.end.removeAttribute("aria-busy");
    sayHidden(this.hidden, this.page);
    byId("actions").hidden = !this.fetched.length;
    byId("status").replaceChildren(...this.said());
  }

  said() {
    const number = this.window.rows.length;
    if (!this.answered) return [];
    if (this.answered !== this.state && askedOf(this.answered) !== askedOf(this.state)) {
      const { query } = this.answered;
      return ["Not answered yet; below is what was there before", query ? `: ${query}` : ""];
    }
    if (!asks(this.answered)) {
      const there = some(this.total ?? number, "row");
      return [el("b", {}, there), this.answered.where.trim() ? " meet the condition" : " can be shown"];
    }
    if (!number) return ["Nothing found. Other words, or fewer filters?"];
    const took = this.took ? ` · ${this.took < 10 ? this.took.toFixed(1) : count(Math.round(this.took))} ms` : "";
    return [el("b", {}, `${count(number)} nearest`), el("span", { class: "roomy" }, took)];
  }
}
