// One picture, large: its caption, credit and columns, and what can be done from it.

import { credit } from "./credit.js";
import { open, prepare } from "./dialogs.js";
import { button, byId, el, typing } from "./dom.js";
import { show } from "./pictures.js";

const ELSEWHERE = ["picture", "thumbnail", "stored", "caption", "similarity"];

export class Detail {
  constructor(page) {
    this.page = page;
    this.dialog = prepare(byId("detail"), () => this.closed());
    this.dialog.addEventListener("keydown", (event) => this.pressed(event));
  }

  /** Follow the state: open its row, or close. */
  async show(state) {
    if (!state.row) {
      if (this.dialog.open) this.dialog.close();
      return;
    }
    if (this.dialog.open && this.row?.key === state.row) return;
    const row = this.page.results.row(state.row) ?? (await this.fetched(state.row));
    if (row && this.page.store.state.row === state.row) this.open(row);
  }

  async fetched(key) {
    try {
      return await this.page.client.get(`v1/rows/${this.page.place(key)}`);
    } catch (error) {
      this.page.failed(error);
      this.page.store.set({ row: "" }, { replace: true });
      return null;
    }
  }

  open(row) {
    this.row = row;
    const image = el("img", { alt: row.caption || "a picture without a caption" });
    show(image, this.page.client, row, { broken: () => image.replaceWith(el("p", {}, "The picture cannot be shown.")) });
    const near = this.neighbours();
    open(this.dialog,
      el("div", { class: "stage" }, image,
        this.step("‹", "The picture before", near.before), this.step("›", "The next picture", near.after)),
      el("div", { class: "facts" },
        button("Close", () => this.dialog.close(), { class: "close", autofocus: true }),
        el("p", { class: "words" }, row.caption ?? ""), credit(row, { links: true }),
        this.actions(row), this.columns(row)));
  }

  neighbours() {
    const shown = this.page.results.shown;
    const at = shown.findIndex((row) => row.key === this.row.key);
    return at < 0 ? {} : { before: shown[at - 1], after: shown[at + 1] };
  }

  step(text, label, row) {
    if (!row) return null;
    return button(text, () => this.go(row), { class: `step ${text === "‹" ? "before" : "after"}`, "aria-label": label });
  }

  go(row) {
    if (row) this.page.store.set({ row: row.key }, { replace: true });
  }

  actions(row) {
    const { page } = this;
    const made = el("div", { class: "detail-actions" },
      button("Search by picture", () => page.ask({ like: row.key })));
    if (row.caption) made.append(button("Search by caption", () => page.ask({ query: row.caption })));
    if (page.clusters) made.append(button("Duplicates", () => page.duplicates(row)));
    made.append(el("a", { class: "button", download: row.key, href: page.client.address(row.picture) }, "Save picture"));
    if (page.config.mayRemove) made.append(button("Remove…", () => page.remove(row), { class: "warn" }));
    else if (page.contact(row)) made.append(el("a", { class: "button warn", href: page.contact(row) }, "Report…"));
    return made;
  }

  columns(row) {
    const names = Object.keys(row).filter((name) => !ELSEWHERE.includes(name) && row[name] !== null && row[name] !== "");
    const lines = names.map((name) => {
      const value = typeof row[name] === "object" ? JSON.stringify(row[name]) : String(row[name]);
      return el("div", {}, el("dt", {}, name), el("dd", {}, value));
    });
    if (row.similarity !== undefined) {
      lines.unshift(el("div", {}, el("dt", {}, "similarity"), el("dd", {}, row.similarity.toFixed(4))));
    }
    return el("dl", { class: "columns" }, ...lines);
  }

  pressed(event) {
    if (typing(event) || event.ctrlKey || event.metaKey || event.altKey) return;
    const near = this.neighbours();
    if (event.key === "ArrowLeft") this.go(near.before);
    else if (event.key === "ArrowRight") this.go(near.after);
    else if (!this.page.shortcut(event.key, this.row)) return;
    event.preventDefault();
  }

  closed() {
    const key = this.row?.key;
    this.row = null;
    this.page.store.set({ row: "" });
    if (this.page.store.state.view === "map") byId("canvas").focus();
    else this.page.results.keys.focus(key);
  }
}
