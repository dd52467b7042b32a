// The frozen selections of a dataset: what each is, training on it, its files, another name, its end.

import { confirmed, open, prepare } from "./dialogs.js";
import { button, byId, el, saveFile, say, some } from "./dom.js";
import { WITH_PICTURES, formatMenu } from "./formats.js";
import { trainCommand } from "./selection.js";

const EVERY = { safe: false, violence: false, hideUrls: false, hideImages: false, hideDropped: false };

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
      this.found = found;
      this.list.replaceChildren(...found.map((one) => this.item(one)));
      if (!found.length) this.list.append(el("li", { class: "dim" }, "None yet. Make one from what you look at."));
    } catch (error) {
      say(this.error, error.message);
    }
  }

  item(one) {
    const command = trainCommand(one);
    const buttons = [button("Show its rows", () => this.look({ selections: one.name })),
      formatMenu(`Download ${one.name} as`, WITH_PICTURES, (format) => this.download(one, format))];
    if (this.found.length > 1) buttons.push(this.comparing(one));
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

  download(one, format) {
    return this.attempt(async () => {
      const { blob, headers } = await this.page.client.got(`${this.path}/${encodeURIComponent(one.name)}/rows?format=${format}`);
      saveFile(blob, `${one.name}.${format}`);
      const leftOut = Number(headers.get("X-Rows-Left-Out"));
      if (leftOut) throw new Error(`${some(leftOut, "row")} of ${one.name} without a picture cannot be in a tar.`);
    });
  }

  /** Look at rows as results, all of them, whatever is left out otherwise. */
  look(changes) {
    this.dialog.close();
    this.page.ask({ where: "", selections: "", outside: "", sort: "", ...EVERY, ...changes });
  }

  /** A menu of the other selections, to compare one with. */
  comparing(one) {
    const others = this.found.filter(({ name }) => name !== one.name);
    const menu = el("select", { "aria-label": `Compare ${one.name} with` }, el("option", { value: "" }, "Compare with…"),
      ...others.map(({ name }) => el("option", { value: name }, name)));
    menu.addEventListener("change", () => menu.value && this.compare(one, menu.value, menu));
    return menu;
  }

  /** Say how two overlap; each part can be looked at. */
  compare(one, other, menu) {
    return this.attempt(async () => {
      const { only, both } = await this.page.client.get(
        `${this.path}/${encodeURIComponent(one.name)}/compare?with=${encodeURIComponent(other)}`);
      const part = (words, number, changes) => el("li", {},
        button(`${words}: ${some(number, "row")}`, () => this.look(changes), { disabled: !number }));
      const said = el("ul", { class: "compared", "aria-label": `${one.name} and ${other}`, role: "list" },
        part(`Only in ${one.name}`, only[one.name], { selections: one.name, outside: other }),
        part(`Only in ${other}`, only[other], { selections: other, outside: one.name }),
        part("In both", both, { selections: `${one.name},${other}` }));
      const item = menu.closest("li");
      item.querySelector(".compared")?.remove();
      item.append(said);
      said.querySelector("button:enabled")?.focus();
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
