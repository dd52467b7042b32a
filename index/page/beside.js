// Another query beside the first one: the same filters and order, other words; what both found is marked.

import { card, dress } from "./card.js";
import { button, byId, el, some } from "./dom.js";
import { enough, rows } from "./query.js";
import { askedOf } from "./state.js";

export class Beside {
  constructor(page) {
    this.page = page;
    this.place = byId("beside");
    this.list = byId("beside-results");
    this.status = byId("beside-status");
    this.field = byId("beside-query");
    this.wanted = false; // opened, though nothing is asked in it yet
    this.found = [];
    byId("open-beside").addEventListener("click", () => this.open());
    byId("beside-form").addEventListener("submit", (event) => {
      event.preventDefault();
      page.store.set({ beside: this.field.value.trim() });
    });
    byId("close-beside").addEventListener("click", () => this.close());
  }

  open() {
    this.wanted = true;
    this.page.store.set({ view: "pictures" });
    this.show(this.page.store.state);
    this.field.focus();
  }

  close() {
    this.wanted = false;
    this.page.store.set({ beside: "" });
    this.show(this.page.store.state);
    byId("open-beside").focus();
  }

  /** Show a state's second query. */
  show(state) {
    const open = (Boolean(state.beside) || this.wanted) && state.view === "pictures";
    this.place.hidden = !open;
    document.body.classList.toggle("halves", open);
    byId("open-beside").setAttribute("aria-pressed", String(open));
    if (document.activeElement !== this.field) this.field.value = state.beside;
    if (!state.beside || !this.page.dataset) {
      this.asking?.abort();
      this.asked = "";
      this.found = [];
      this.list.replaceChildren();
      this.status.textContent = "";
      return this.mark();
    }
    // The filters of the first one, and nothing of what it looks for.
    const asked = { ...state, query: state.beside, imageUrl: "", like: "", likeOf: "", picture: "", terms: "" };
    if (askedOf(asked) !== this.asked) this.look(asked);
  }

  async look(state) {
    this.asked = askedOf(state);
    this.asking?.abort();
    const asking = (this.asking = new AbortController());
    this.list.setAttribute("aria-busy", "true");
    try {
      const answer = await rows(this.page.client, state, enough(), 0, asking.signal);
      this.found = answer.rows;
      this.list.replaceChildren(...answer.rows.map((row) => this.card(row)));
      this.mark();
    } catch (error) {
      if (error.name === "AbortError") return;
      this.asked = "";
      this.found = [];
      this.list.replaceChildren();
      this.status.textContent = error.message;
    }
    this.list.removeAttribute("aria-busy");
  }

  card(row) {
    const item = card(row, this.page, () => item.remove());
    item.querySelector(".pick").remove(); // rows are picked among the results of the first one
    for (const part of item.querySelectorAll("a, button")) part.tabIndex = 0;
    return item;
  }

  dress(state) {
    for (const item of this.list.children) dress(item, this.found.find(({ key }) => key === item.dataset.key), state);
  }

  /** Mark what both found, of as many rows as both have. */
  mark() {
    const { results } = this.page;
    if (this.place.hidden || !this.found.length) {
      for (const item of results.list.querySelectorAll(".shared")) item.classList.remove("shared");
      return;
    }
    const number = Math.min(this.found.length, results.shown.length);
    const ours = new Set(results.shown.slice(0, number).map(({ key }) => key));
    const both = new Set(this.found.slice(0, number).filter(({ key }) => ours.has(key)).map(({ key }) => key));
    for (const list of [results.list, this.list]) {
      for (const item of list.children) item.classList.toggle("shared", both.has(item.dataset.key));
    }
    this.status.replaceChildren(el("b", {}, `${both.size} of the first ${some(number, "row")}`), " are in both");
  }
}
