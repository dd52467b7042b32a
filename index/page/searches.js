// Recent and saved searches: addresses of the page, kept in this browser alone.

import { open, prepare } from "./dialogs.js";
import { button, byId, el } from "./dom.js";
import { asks } from "./query.js";
import { DEFAULTS, format, parse } from "./state.js";
import { saidOf } from "./terms.js";

const RECENT = 30; // searches that are remembered
const KEY = "searches";

/** What is kept: {recent: [address], saved: [{name, address}]}. */
function kept() {
  try {
    const found = JSON.parse(localStorage.getItem(KEY)) ?? {};
    return { recent: found.recent ?? [], saved: found.saved ?? [] };
  } catch {
    return { recent: [], saved: [] };
  }
}

function keep(found) {
  try {
    localStorage.setItem(KEY, JSON.stringify(found));
  } catch {
    // Not kept: the browser forbids it, or its store is full.
  }
}

/** A view in words. */
function described(state) {
  const parts = [saidOf(state) || "all rows"];
  if (state.beside) parts[0] += ` beside ${state.beside}`;
  if (state.index) parts.push(state.index);
  if (state.selections) parts.push(`in ${state.selections.replaceAll(",", " and ")}`);
  if (state.outside) parts.push(`not in ${state.outside.replaceAll(",", " and ")}`);
  if (state.where.trim()) parts.push(state.where.trim());
  if (state.sort) parts.push(`by ${state.sort.replace(/^-/, "")}`);
  return parts.join(" · ");
}

export class Searches {
  constructor(page) {
    this.page = page;
    this.dialog = prepare(byId("searches"));
    byId("open-searches").addEventListener("click", () => this.open());
  }

  /** A state's address, without what is open; an uploaded picture has none. */
  address(state) {
    return format({ ...state, row: "", work: "", view: "pictures" });
  }

  /** Remember what was asked. */
  remember(state) {
    if (!asks(state) && !state.where.trim() && !state.selections && !state.outside) return;
    if (state.picture) return; // its address would say something else
    const found = kept();
    const address = this.address(state);
    found.recent = [address, ...found.recent.filter((one) => one !== address)].slice(0, RECENT);
    keep(found);
  }

  open() {
    const { state } = this.page.store;
    const { recent, saved } = kept();
    open(this.dialog,
      el("header", {}, el("h2", { id: "searches-title" }, "Searches"),
        button("Close", () => this.dialog.close(), { class: "close", autofocus: true, "data-focus": "close" })),
      state.picture ? el("p", { class: "dim" }, "A search by a picture of yours cannot be saved: the picture is kept nowhere.") : this.saving(state),
      el("h3", {}, "Saved"), this.list(saved.map(({ name, address }) => ({ name, address, drop: () => this.forget(name) })), "None yet."),
      el("h3", {}, "Recent"), this.list(recent.map((address) => ({ address })), "None yet."),
      el("div", { class: "buttons" }, recent.length ? button("Forget the recent ones", () => {
        keep({ ...kept(), recent: [] });
        this.open();
      }, { "data-focus": "forget" }) : null, el("small", { class: "dim" }, "Kept in this browser alone.")));
  }

  saving(state) {
    const name = el("input", { required: true, maxlength: 100, value: described(state).slice(0, 100), "aria-label": "Name of this search", "data-focus": "name" });
    const form = el("form", { class: "rename" }, name, el("button", { class: "primary" }, "Save this search"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const found = kept();
      const one = { name: name.value.trim(), address: this.address(state) };
      keep({ ...found, saved: [one, ...found.saved.filter((other) => other.name !== one.name)] });
      this.open();
    });
    return form;
  }

  forget(name) {
    const found = kept();
    keep({ ...found, saved: found.saved.filter((one) => one.name !== name) });
    this.open();
  }

  list(searches, none) {
    if (!searches.length) return el("p", { class: "dim" }, none);
    return el("ul", { class: "searches" }, ...searches.map(({ name, address, drop }) => {
      const state = parse(address.startsWith("?") ? address : "");
      const link = el("a", { href: address, dir: "auto" }, name ?? described(state));
      link.addEventListener("click", (event) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
        event.preventDefault();
        this.dialog.close();
        this.page.store.set({ ...DEFAULTS, ...state, picture: "" });
      });
      return el("li", {}, link, drop ? button("×", drop, { class: "quiet", "aria-label": `Forget ${name}` }) : null);
    }));
  }
}
