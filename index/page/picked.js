// Rows that are picked among the results, by click, range and key, and what is done with them all.

import { button, byId, el, some } from "./dom.js";
import { FORMATS, formatMenu } from "./formats.js";
import { asks, filters, keyIn, looked } from "./query.js";
import { saveExport } from "./export.js";

const TERMS = 16; // parts of a query, at most

export class Picked {
  constructor(page) {
    this.page = page;
    this.rows = new Map(); // by key
    this.last = null; // where a range begins
    this.bar = byId("picked");
    this.bar.querySelector(".quiet").addEventListener("click", () => this.clear());
    this.list = byId("results");
    this.list.addEventListener("click", (event) => this.clicked(event), true);
    this.list.addEventListener("change", (event) => event.target.matches(".pick") && this.changed(event.target));
  }

  /** Forget all of them. */
  clear() {
    this.rows.clear();
    this.last = null;
    this.show();
  }

  has(key) {
    return this.rows.has(key);
  }

  /** Shift and a click, on a card or on its box, picks all from the last one to it. */
  clicked(event) {
    const card = event.target.closest(".card");
    if (!card || !event.shiftKey || event.target.closest(".card-actions")) return;
    event.preventDefault();
    event.stopPropagation();
    getSelection()?.removeAllRanges();
    this.range(card.dataset.key);
  }

  changed(input) {
    const { key } = input.closest(".card").dataset;
    this.pick(key, input.checked);
  }

  /** Pick a row or not. */
  pick(key, picked = !this.has(key)) {
    const row = this.page.results.row(key);
    if (picked && row) this.rows.set(key, row);
    else this.rows.delete(key);
    this.last = key;
    this.show();
  }

  range(key) {
    const keys = this.page.results.shown.map((row) => row.key);
    const [from, to] = [keys.indexOf(this.last ?? key), keys.indexOf(key)].sort((a, b) => a - b);
    if (from < 0) return this.pick(key, true);
    for (const one of keys.slice(from, to + 1)) this.rows.set(one, this.page.results.row(one));
    this.last = key;
    this.show();
  }

  /** Pick all that are there. */
  all() {
    for (const row of this.page.results.shown) this.rows.set(row.key, row);
    this.show();
  }

  /** A key pressed on a card; whether it means something. */
  pressed(event, key) {
    if (event.key === "x") event.shiftKey ? this.range(key) : this.pick(key);
    else if (event.key === "X") this.range(key);
    else if (event.key === "a" && (event.ctrlKey || event.metaKey)) this.all();
    else return false;
    return true;
  }

  /** Show which are picked, and what can be done. */
  show() {
    for (const card of this.list.children) this.dress(card);
    const count = this.rows.size;
    document.body.classList.toggle("picking", count > 0);
    this.bar.hidden = !count;
    const had = this.bar.contains(document.activeElement) ? document.activeElement.dataset.focus : "";
    this.bar.querySelector("p").replaceChildren(...(count ? [el("b", {}, `${some(count, "row")} picked`)] : []));
    this.bar.querySelector(".choices").replaceChildren(...(count ? this.actions(count) : []));
    if (had) this.bar.querySelector(`[data-focus="${had}"]`)?.focus();
  }

  dress(card) {
    const picked = this.has(card.dataset.key);
    card.classList.toggle("chosen", picked);
    const box = card.querySelector(".pick");
    if (box) box.checked = picked;
  }

  actions(count) {
    const { page } = this;
    const one = (text, run, properties = {}) => button(text, run, { "data-focus": text, ...properties });
    const sum = one("Search by their sum", () => this.searchBySum());
    if (count > TERMS) Object.assign(sum, { disabled: true, title: `A query has at most ${TERMS} pictures.` });
    const made = [sum];
    if (page.config.maySelect) made.push(one("Training selection", () => page.selecting.openPicked([...this.rows.keys()])));
    made.push(formatMenu("Download as", FORMATS, (format) => this.download(format)));
    if (page.config.mayDecide) {
      made.push(one("Keep", () => page.decide(true, [...this.rows.keys()])), one("Drop", () => page.decide(false, [...this.rows.keys()])));
    }
    if (page.config.mayRemove) made.push(one("Remove…", () => page.removing.openPicked([...this.rows.values()]), { class: "warn" }));
    const { done, shown } = page.results;
    if (shown.length > count || !done) made.push(one(`All ${done ? "" : "loaded "}(${shown.length})`, () => this.all(), { "data-focus": "all" }));
    if (!done || shown.length > count) made.push(one("All that match…", () => this.matching()));
    return made;
  }

  searchBySum() {
    this.page.ask({ ...this.page.like({ key: [...this.rows.keys()].join(",") }) });
    this.clear();
  }

  /** What meets the filters, or is nearest to the query: as a selection, whose size is chosen. */
  matching() {
    this.page.selecting.open();
  }

  download(format) {
    const { dataset, ...body } = filters(this.page.store.state);
    // Whatever the filters: what was picked was seen.
    const all = { ...body, where: keyIn([...this.rows.keys()]), safe: false, dropped: true, duplicates: true, violence: true };
    const nearest = asks(this.page.store.state) && { ...looked(this.page.store.state), k: this.rows.size };
    saveExport(this.page, { ...all, ...nearest, format }).catch((error) => this.page.failed(error));
  }
}
