// The drawer of a picture's duplicates: the rows of its cluster.

import { badge, languageOf } from "./card.js";
import { credit } from "./credit.js";
import { open, prepare } from "./dialogs.js";
import { button, byId, el, some } from "./dom.js";
import { show } from "./pictures.js";

export class Duplicates {
  constructor(page) {
    this.page = page;
    this.dialog = prepare(byId("drawer"));
  }

  async open(row) {
    let rows = [];
    try {
      rows = await this.page.client.get(`v1/duplicates/${this.page.place(row.key)}`);
    } catch (error) {
      this.page.failed(error);
      return;
    }
    const others = rows.length - 1;
    const said = others
      ? `${some(others, "other row is a copy", "other rows are copies")} of this one, or nearly.`
      : "No other row is a copy of this one.";
    open(this.dialog,
      el("header", {}, el("h2", { id: "drawer-title" }, "Duplicates"),
        button("Close", () => this.dialog.close(), { class: "close", autofocus: true })),
      el("p", { class: "dim" }, said),
      el("ul", { class: "copies" }, ...rows.map((one) => this.copy(one, one.key === row.key))));
  }

  copy(row, itself) {
    const image = el("img", { alt: row.caption || "a picture without a caption" });
    show(image, this.page.client, row, { size: 200 });
    const size = row.width ? `${row.width} × ${row.height}` : "";
    const frame = button("", () => this.look(row), { class: "frame", "aria-label": `Open ${row.caption || row.key}` });
    frame.append(image);
    return el("li", { "data-key": row.key }, frame,
      el("div", {}, badge(row), el("p", { class: "caption", dir: "auto", lang: languageOf(row) }, row.caption ?? ""), credit(row),
        el("p", { class: "dim" }, [itself ? "this one" : "", size].filter(Boolean).join(" · "))));
  }

  look(row) {
    this.dialog.close();
    this.page.store.set({ row: row.key });
  }
}
