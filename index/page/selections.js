// The frozen selections of a dataset: what each is, training on it, its files, another name, its end.

import { confirmed, open, prepare } from "./dialogs.js";
import { button, byId, el, saveFile, say, some } from "./dom.js";
import { trainCommand } from "./selection.js";

const FORMATS = ["csv", "parquet", "ndjson"];

export class Selections {
  constructor(page) {
    this.page = page;
    this.dialog = prepare(byId("selections"));
    byId("open-selections").addEventListener("click", () => this.open());
  }

  get path() {
    return `v1/datasets/${encodeURIComponent(this.page.dataset.name)}/selections`;
  }

  async open() {
    this.error = el("p", { class: "error", role: "alert", hidden: true });
    this.list = el("ul", { class: "selections" });
    open(this.dialog,
      el("header", {}, el("h2", { id: "selections-title" }, "Training selections"),
        button("Close", () => this.dialog.close(), { class: "close", autofocus: true })),
      this.error, this.list);
    await this.load();
  }

  async load() {
    try {
      const found = await this.page.client.get(this.path);
      this.list.replaceChildren(...found.map((one) => this.item(one)));
      if (!found.length) this.list.append(el("li", { class: "dim" }, "None yet. Make one from what you look at."));
    } catch (error) {
      say(this.error, error.message);
    }
  }

  item(one) {
    const command = trainCommand(one);
    const format = el("select", { "aria-label": `Download ${one.name} as` }, el("option", { value: "" }, "Download…"),
      ...FORMATS.map((name) => el("option", { value: name }, name.toUpperCase())));
    format.addEventListener("change", () => format.value && this.download(one, format.value, format));
    const buttons = [format];
    if (this.page.config.maySelect) {
      buttons.push(button("Rename…", () => this.rename(one, item)), button("Delete…", () => this.remove(one), { class: "warn" }));
    }
    const item = el("li", { "data-name": one.name },
      el("p", {}, el("b", {}, one.name), ` · ${some(one.rows, "row")} · `, el("code", {}, one.digest.slice(0, 16))),
      el("details", {}, el("summary", {}, "Train on it"), el("pre", { tabindex: 0 }, command)),
      el("div", { class: "buttons" }, ...buttons));
    return item;
  }

  async attempt(run) {
    try {
      await run();
      say(this.error, "");
    } catch (error) {
      say(this.error, error.message);
    }
  }

  download(one, format, field) {
    field.value = "";
    return this.attempt(async () => {
      const blob = await this.page.client.blob(`${this.path}/${encodeURIComponent(one.name)}/rows?format=${format}`);
      saveFile(blob, `${one.name}.${format}`);
    });
  }

  rename(one, item) {
    const name = el("input", { value: one.name, required: true, maxlength: 100, "aria-label": "New name" });
    const form = el("form", { class: "rename" }, name, el("button", { class: "primary" }, "Rename"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.attempt(async () => {
        await this.page.client.send("PATCH", `${this.path}/${encodeURIComponent(one.name)}`, { name: name.value.trim() });
        await this.load();
      });
    });
    item.querySelector(".buttons").replaceWith(form);
    name.select();
  }

  async remove(one) {
    const agreed = await confirmed(this.page.confirming, {
      title: `Delete ${one.name}?`,
      text: `${some(one.rows, "row")}, digest ${one.digest.slice(0, 16)}. The rows stay in the dataset; what was trained on the selection keeps its digest.`,
      yes: "Delete it",
    });
    if (!agreed) return;
    await this.attempt(async () => {
      await this.page.client.send("DELETE", `${this.path}/${encodeURIComponent(one.name)}?digest=${one.digest}`);
      await this.load();
    });
  }
}
