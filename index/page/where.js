// The condition's field: columns and functions are completed while it is typed.

import { byId, el, say } from "./dom.js";
import { quoted } from "./facets.js";

const SHOWN = 8;

/** The unfinished name before the caret, or null inside a quoted text. */
function unfinished(text) {
  if ((text.match(/'/g) ?? []).length % 2) return null;
  return /[A-Za-z_][A-Za-z0-9_]*$/.exec(text)?.[0] ?? null;
}

/** Names that fit a beginning: columns before functions, beginnings before middles. */
function fitting(beginning, { columns, functions }) {
  const named = [
    ...columns.map(({ name, type }) => ({ name, type, insert: `${quoted(name)} ` })),
    ...functions.map((name) => ({ name, type: "function", insert: `${name}(` })),
  ];
  const sought = beginning.toLowerCase();
  const starts = named.filter(({ name }) => name.toLowerCase().startsWith(sought));
  const holds = named.filter(({ name, type }) =>
    type !== "function" && name.toLowerCase().indexOf(sought) > 0);
  return [...starts, ...holds].filter(({ name }) => name !== beginning).slice(0, SHOWN);
}

export class Where {
  constructor(page) {
    this.page = page;
    this.field = byId("where");
    this.list = byId("where-list");
    this.names = { columns: [], functions: [] };
    this.field.addEventListener("input", () => this.complete());
    this.field.addEventListener("keydown", (event) => this.pressed(event));
    this.field.addEventListener("blur", () => {
      this.close();
      this.submit();
    });
    this.list.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      const at = [...this.list.children].indexOf(event.target.closest("li"));
      if (at >= 0) this.take(at);
    });
  }

  /** What can be named in this dataset. */
  async learn() {
    const { client, dataset } = this.page;
    const found = await client.get(`v1/columns?dataset=${encodeURIComponent(dataset.name)}`);
    this.names = found;
    this.columns = new Set(found.columns.map(({ name }) => name));
  }

  show(state) {
    if (document.activeElement !== this.field) this.field.value = state.where;
  }

  /** Show what is wrong with the condition. */
  fail(message) {
    say(byId("where-error"), message);
    this.field.setAttribute("aria-invalid", String(Boolean(message)));
  }

  submit() {
    this.page.store.set({ where: this.field.value.trim() });
  }

  complete() {
    const beginning = unfinished(this.field.value.slice(0, this.field.selectionStart));
    this.found = beginning ? fitting(beginning, this.names) : [];
    this.beginning = beginning;
    this.list.replaceChildren(...this.found.map(({ name, type }, at) =>
      el("li", { role: "option", id: `where-${at}` }, el("span", {}, name), el("small", {}, type.toLowerCase()))));
    this.mark(-1);
    this.list.hidden = !this.found.length;
  }

  close() {
    this.list.hidden = true;
    this.mark(-1);
  }

  mark(at) {
    this.marked = at;
    [...this.list.children].forEach((item, place) => item.setAttribute("aria-selected", String(place === at)));
    if (at < 0) this.field.removeAttribute("aria-activedescendant");
    else this.field.setAttribute("aria-activedescendant", `where-${at}`);
  }

  take(at) {
    const caret = this.field.selectionStart;
    const start = caret - this.beginning.length;
    this.field.setRangeText(this.found[at].insert, start, caret, "end");
    this.close();
  }

  pressed(event) {
    const open = !this.list.hidden;
    const steps = { ArrowDown: 1, ArrowUp: -1 };
    if (open && event.key in steps) {
      const number = this.found.length;
      this.mark((this.marked + steps[event.key] + number) % number);
    } else if (open && event.key === "Escape") this.close();
    else if (open && event.key === "Tab") this.take(Math.max(0, this.marked));
    else if (open && event.key === "Enter" && this.marked >= 0) this.take(this.marked);
    else if (event.key === "Enter" && !event.shiftKey) {
      this.close();
      this.submit();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
