// "Make this a training selection": what is looked at becomes a frozen selection.

import { CutOff } from "./cut-off.js";
import { open, prepare } from "./dialogs.js";
import { button, byId, el, say, some } from "./dom.js";
import { asks, filters, keyIn, search } from "./query.js";
import { saidOf } from "./terms.js";

const BALANCED = /VARCHAR|BOOLEAN/; // types of columns

/** A name made of a query. */
export function named(text) {
  const words = text.normalize("NFKD").toLowerCase().replace(/[^a-z0-9]+/g, "-");
  return words.replace(/^-+|-+$/g, "").slice(0, 60) || "selection";
}

/** The condition that a view's filters come to where there is no query. */
export function condition(state, columns) {
  const parts = [];
  if (state.where.trim()) parts.push(`(${state.where.trim()})`);
  if (state.safe && columns.has("punsafe")) parts.push("(punsafe IS NULL OR punsafe < 0.5)");
  if (state.hideImages && columns.has("duplicate_of")) parts.push("(duplicate_of IS NULL)");
  return parts.join(" AND ") || null;
}

/** The selections that a view is of. */
function within(state) {
  const { selections, outside } = filters(state);
  return { ...(selections && { selections }), ...(outside && { outside }) };
}

export class Selecting {
  constructor(page) {
    this.page = page;
    this.dialog = prepare(byId("selecting"), () => this.cutOff?.stop());
  }

  /** Of rows that were picked, whatever the query. */
  openPicked(keys) {
    this.open(keys);
  }

  open(picked = null) {
    const { state } = this.page.store;
    this.picked = picked;
    const name = el("input", {
      id: "selection-name",
      required: true,
      maxlength: 100,
      pattern: "[A-Za-z0-9][A-Za-z0-9._\\-]*",
      title: "letters, digits, dots, dashes",
      value: named(saidOf(state) || state.where || state.selections),
    });
    this.cutOff = asks(state) && !picked ? new CutOff(this.page, state) : null;
    this.error = el("p", { class: "error", role: "alert", hidden: true });
    this.replace = el("input", { type: "checkbox", id: "selection-replace" });
    this.replaceField = el("label", { class: "check", hidden: true }, this.replace, " lose that one, and freeze this one in its place");
    name.addEventListener("input", () => this.offer(false));
    const form = el("form", {},
      el("h2", { id: "selecting-title" }, "A training selection"),
      el("p", { class: "dim" }, picked ? `${some(picked.length, "picked row")}; dropped and removed rows are never in it.` : this.said(state)),
      el("label", { class: "field" }, "Name", name),
      this.cutOff?.element,
      this.cutOff || picked ? null : this.sizes(),
      this.error, this.replaceField,
      el("div", { class: "buttons" }, button("Cancel", () => this.dialog.close()),
        el("button", { class: "primary" }, "Freeze it")));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.make(name.value, this.cutOff && this.cutOff.k);
    });
    open(this.dialog, form);
    name.select();
    this.cutOff?.begin();
  }

  /** How many of all rows, and how they are spread over a column. */
  sizes() {
    this.limit = el("input", { id: "selection-limit", type: "number", min: 1, placeholder: "all of them" });
    const columns = this.page.where.names.columns.filter(({ type }) => BALANCED.test(type)).map(({ name }) => name);
    this.balance = el("select", { id: "selection-balance" }, el("option", { value: "" }, "as they are"),
      ...columns.map((name) => el("option", { value: name }, `as many of each ${name}`)));
    this.balance.addEventListener("change", () => (this.limit.required = Boolean(this.balance.value)));
    return el("div", { class: "cut" }, el("label", {}, "Balance", this.balance), el("label", {}, "At most", this.limit));
  }

  /** Offer to replace a selection; never for a name that was not refused. */
  offer(shown) {
    this.replaceField.hidden = !shown;
    this.replace.checked = false;
  }

  said(state) {
    const query = asks(state) ? "The nearest rows to this query" : "All rows";
    const within = state.selections ? ` of ${state.selections.replaceAll(",", " and ")}` : "";
    const outside = state.outside ? ` outside of ${state.outside.replaceAll(",", " and ")}` : "";
    const where = `${within}${outside}${state.where.trim() ? ` where ${state.where.trim()}` : ""}`;
    return (
      `${query}${where}, as they are filtered now; dropped and removed rows are never in it. ` +
      "Training reads it straight from the shards, and its digest names it ever after."
    );
  }

  async make(name, k) {
    const { page } = this;
    const { state } = page.store;
    const dataset = page.dataset.name;
    const replace = this.replace.checked;
    const body = this.picked?.length
      ? { dataset, name, replace, where: keyIn(this.picked) }
      : k === null
      ? { dataset, name, replace, where: condition(state, page.where.columns ?? new Set()), ...within(state), ...this.sized() }
      : { dataset, name, replace, query: { ...search({ ...state, sort: "", hybrid: false }, k), ...filters(state), dropped: false, dataset } };
    try {
      this.made(await page.client.post("v1/selections", body));
    } catch (error) {
      this.offer(error.code === "already-there");
      say(this.error, error.message);
    }
  }

  sized() {
    return {
      ...(this.limit.value && { limit: Number(this.limit.value) }),
      ...(this.balance.value && { balance: this.balance.value }),
    };
  }

  made(selection) {
    const command = trainCommand(selection);
    const copied = el("span", { role: "status" });
    const copy = async () => {
      await navigator.clipboard.writeText(command).then(() => (copied.textContent = " copied"), () => {});
    };
    open(this.dialog,
      el("h2", { id: "selecting-title" }, `${selection.name}: ${some(selection.rows, "row")}`),
      el("p", { class: "dim" }, "Digest ", el("code", {}, selection.digest.slice(0, 16))),
      el("p", {}, "Train on it:"),
      el("pre", { id: "train-command", tabindex: 0 }, command),
      el("div", { class: "buttons" }, copied, button("Copy", copy),
        button("Close", () => this.dialog.close(), { class: "primary", autofocus: true })));
  }
}

const quoted = (text) => (/^[\w./:@-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);

/** The command that trains on a selection. */
export function trainCommand({ folder, name }) {
  return `frenchcat train train-demo --set data.dataset=${quoted(folder ?? "DATASET")} --set data.selection=${name}`;
}
