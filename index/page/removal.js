// Removing pictures, where the server allows it: first what it would take, then, confirmed, that:
// what is sent is the preview that is shown, by its token, never what is being chosen.

import { site } from "./credit.js";
import { open, prepare } from "./dialogs.js";
import { button, byId, el, say, some } from "./dom.js";

const LISTED = 12;

export class Removing {
  constructor(page) {
    this.page = page;
    this.dialog = prepare(byId("removing"), () => this.asking?.abort());
  }

  /** Of rows that were picked. */
  openPicked(rows) {
    const [first, ...others] = rows.map(({ key }) => key);
    this.begin([["key", first, `the ${some(rows.length, "picked row")}`, others]]);
  }

  open(row) {
    const ways = [["key", row.key, "this picture"]];
    if (row.url) ways.push(["url", row.url, "this address, wherever it is listed"]);
    if (site(row.url)) ways.push(["domain", new URL(row.url).hostname, `all from ${new URL(row.url).hostname}`]);
    this.begin(ways);
  }

  begin(ways) {
    this.ways = ways;
    this.which = el("select", { id: "remove-by" }, ...ways.map(([by, , words]) => el("option", { value: by }, words)));
    this.near = el("input", { type: "checkbox", id: "remove-near" });
    this.note = el("input", { id: "remove-note", maxlength: 2000 });
    this.found = el("div", { class: "found", "aria-live": "polite" });
    this.total = el("input", { id: "remove-total", inputmode: "numeric", autocomplete: "off" });
    this.totalField = el("label", { class: "field", hidden: true }, "Type the number of rows to remove them all", this.total);
    this.error = el("p", { class: "error", role: "alert", hidden: true });
    this.confirm = button("Remove", () => this.remove(), { class: "primary danger", id: "remove-confirm", disabled: true });
    for (const input of [this.which, this.near]) input.addEventListener("change", () => this.look());
    this.total.addEventListener("input", () => this.allow());
    open(this.dialog,
      el("h2", { id: "removing-title" }, "Remove"),
      el("p", { class: "dim" }, "Removed rows are absent at once from search, selections and training."),
      el("label", { class: "field" }, "What", this.which),
      el("label", { class: "check" }, this.near, " near copies, too"),
      el("label", { class: "field" }, "Note, for the log", this.note),
      this.found, this.totalField, this.error,
      el("div", { class: "buttons" }, button("Cancel", () => this.dialog.close(), { autofocus: true }), this.confirm));
    this.look();
  }

  /** Show what the choice would take; until then there is nothing to confirm. */
  async look() {
    const asking = this.ask();
    const [by, value, , keys = []] = this.ways.find(([name]) => name === this.which.value);
    const body = { dataset: this.page.dataset.name, by, value, keys, near: this.near.checked };
    this.shown = null;
    this.confirm.textContent = "Remove";
    this.total.value = "";
    this.totalField.hidden = true;
    this.allow();
    this.found.replaceChildren(el("p", { class: "dim" }, "looking…"));
    try {
      const answer = await this.page.client.post("v1/remove", body, asking.signal);
      if (asking !== this.asking) return;
      say(this.error, "");
      this.preview(body, answer);
    } catch (error) {
      if (asking !== this.asking) return;
      this.found.replaceChildren();
      say(this.error, error.message);
    }
  }

  preview(body, answer) {
    const listed = answer.matches.slice(0, LISTED);
    const more = answer.total - listed.length;
    this.shown = { body, answer };
    this.found.replaceChildren(
      el("p", {}, el("b", {}, some(answer.total, "row")), ":"),
      el("ul", {}, ...listed.map(({ key, caption, why }) => el("li", { dir: "auto" }, `${caption || key} `, el("small", {}, why)))),
      more > 0 ? `and ${more} more` : "");
    this.confirm.textContent = `Remove ${some(answer.total, "row")}`;
    this.totalField.hidden = !answer.confirm_total;
    this.allow();
  }

  /** The button works where something is shown, and its number typed where that is wanted. */
  allow() {
    const answer = this.shown?.answer;
    const typed = !answer?.confirm_total || this.typed() === answer.total;
    this.confirm.disabled = !answer?.total || !typed;
  }

  typed() {
    return Number(this.total.value.replaceAll(/[\s,.]/g, "") || NaN);
  }

  /** Remove what is shown. */
  async remove() {
    const { body, answer } = this.shown;
    const total = answer.confirm_total ? { total: this.typed() } : {};
    const asking = this.ask();
    this.confirm.disabled = this.which.disabled = this.near.disabled = true;
    try {
      const confirmed = { ...body, ...total, note: this.note.value, confirm: true, token: answer.token };
      this.done(await this.page.client.post("v1/remove", confirmed));
    } catch (error) {
      if (asking !== this.asking) return;
      this.which.disabled = this.near.disabled = false;
      await this.look(); // rows may have changed: what is shown is shown anew
      say(this.error, error.message);
    }
  }

  /** The newest request; answers to older ones do not count. */
  ask() {
    this.asking?.abort();
    return (this.asking = new AbortController());
  }

  done(answer) {
    open(this.dialog,
      el("h2", { id: "removing-title" }, "Removed"),
      el("p", {}, `${some(answer.total, "row is", "rows are")} gone. It is request ${answer.request} of the log.`),
      el("div", { class: "buttons" },
        button("Close", () => this.dialog.close(), { class: "primary", autofocus: true })));
    this.page.picked.clear();
    this.page.store.set({ row: "" });
    this.page.again();
  }
}
