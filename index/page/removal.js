// Removing pictures, where the server allows it: first what it would take, then, confirmed, it.

import { site } from "./credit.js";
import { open, prepare } from "./dialogs.js";
import { button, byId, el, say, some } from "./dom.js";

const LISTED = 12;

export class Removing {
  constructor(page) {
    this.page = page;
    this.dialog = prepare(byId("removing"));
  }

  open(row) {
    const ways = [["key", row.key, "this picture"]];
    if (row.url) ways.push(["url", row.url, "this address, wherever it is listed"]);
    if (site(row.url)) ways.push(["domain", new URL(row.url).hostname, `all from ${new URL(row.url).hostname}`]);
    this.ways = ways;
    this.which = el("select", { id: "remove-by" }, ...ways.map(([by, , words]) => el("option", { value: by }, words)));
    this.near = el("input", { type: "checkbox", id: "remove-near" });
    this.note = el("input", { id: "remove-note", maxlength: 2000 });
    this.found = el("div", { class: "found", "aria-live": "polite" });
    this.error = el("p", { class: "error", role: "alert", hidden: true });
    this.confirm = button("Remove", () => this.send(true), { class: "primary danger", id: "remove-confirm", disabled: true });
    for (const input of [this.which, this.near]) input.addEventListener("change", () => this.send(false));
    open(this.dialog,
      el("h2", { id: "removing-title" }, "Remove"),
      el("p", { class: "dim" }, "Removed rows are absent at once from search, selections and training."),
      el("label", { class: "field" }, "What", this.which),
      el("label", { class: "check" }, this.near, " near copies, too"),
      el("label", { class: "field" }, "Note, for the log", this.note),
      this.found, this.error,
      el("div", { class: "buttons" }, button("Cancel", () => this.dialog.close(), { autofocus: true }), this.confirm));
    this.send(false);
  }

  async send(confirm) {
    const [by, value] = this.ways.find(([name]) => name === this.which.value);
    const body = { dataset: this.page.dataset.name, by, value, near: this.near.checked, note: this.note.value, confirm };
    this.confirm.disabled = true;
    try {
      const answer = await this.page.client.post("v1/remove", body);
      say(this.error, "");
      if (confirm) this.done(answer);
      else this.preview(answer);
    } catch (error) {
      say(this.error, error.message);
    }
  }

  preview(answer) {
    const listed = answer.matches.slice(0, LISTED);
    const more = answer.total - listed.length;
    this.found.replaceChildren(
      el("p", {}, el("b", {}, some(answer.total, "row")), ":"),
      el("ul", {}, ...listed.map(({ key, caption, why }) => el("li", {}, `${caption || key} `, el("small", {}, why)))),
      more > 0 ? `and ${more} more` : "");
    this.confirm.textContent = `Remove ${some(answer.total, "row")}`;
    this.confirm.disabled = !answer.total;
  }

  done(answer) {
    open(this.dialog,
      el("h2", { id: "removing-title" }, "Removed"),
      el("p", {}, `${some(answer.total, "row is", "rows are")} gone. It is request ${answer.request} of the log.`),
      el("div", { class: "buttons" },
        button("Close", () => this.dialog.close(), { class: "primary", autofocus: true })));
    this.page.store.set({ row: "" });
    this.page.again();
  }
}
