// The toggles, with LAION's names and defaults, and what stands beside them.

import { byId, button, el, say } from "./dom.js";
import { asks, worded } from "./query.js";
import { DEFAULTS } from "./state.js";

const TOGGLES = {
  filters: [
    ["safe", "Safe mode", "safe"],
    ["violence", "Remove violence", "violence"],
    ["hideUrls", "Hide duplicate urls"],
    ["hideImages", "Hide near-duplicate images"],
    ["hideDropped", "Hide what verdicts drop", "verdicts"],
  ],
  ranking: [
    ["aesthetic", "Aesthetic scoring", "ratings"],
    ["hybrid", "Words in captions, too"],
    ["useMclip", "Multilingual search"],
  ],
  display: [
    ["captions", "Captions"],
    ["fullCaptions", "Full captions"],
    ["similarities", "Similarities"],
  ],
};
const NOTHING = {
  safe: "No row here is scored or judged; run frenchcat score DATASET.",
  violence: "This server has no prompts for it (--violence).",
  verdicts: "No row here is judged; run frenchcat verdict DATASET.",
  ratings: "This server has no ratings (--ratings).",
};
const NO_QUERY = "Only where something is searched for.";
const SORTED = /INT|FLOAT|DOUBLE|DECIMAL|VARCHAR|BOOLEAN|TIMESTAMP|DATE/; // types of columns
const MULTILINGUAL = /mini|xlm|multiling|mclip|siglip2|nllb|mt5/i;

/** Whether texts of many languages are understood by a dataset's model. */
export const multilingual = (dataset) => MULTILINGUAL.test(dataset.model);

export class Options {
  constructor(page) {
    this.page = page;
    this.inputs = {};
    this.notes = {};
    this.needs = {};
    for (const [id, toggles] of Object.entries(TOGGLES)) {
      byId(id).append(...toggles.map(([name, words, needs]) => this.toggle(name, words, needs)));
    }
    byId("ranking").prepend(this.over());
    this.inputs.aesthetic.closest(".switch").after(this.rating());
    this.field("index", "change");
    this.field("back", "change");
    this.inputs.sort = byId("sort");
    byId("sort").addEventListener("change", () => this.page.store.set({ sort: byId("sort").value }));
    byId("key").addEventListener("change", (event) => page.enter(event.target.value));
    byId("open-options").addEventListener("click", () => this.open(!this.isOpen));
    document.querySelector("[data-close-options]").addEventListener("click", () => this.open(false));
    byId("display").after(button("Back to the defaults", () => this.reset(), { class: "reset" }));
    this.open(matchMedia("(min-width: 900px)").matches, false);
  }

  toggle(name, words, needs) {
    const id = name === "useMclip" ? "mclip-note" : `${name}-note`;
    const note = el("small", { id, hidden: true });
    const input = el("input", { type: "checkbox", role: "switch", id: name, "aria-describedby": note.id });
    input.addEventListener("change", () => this.page.store.set(this.changes(name, input.checked)));
    this.inputs[name] = input;
    this.notes[name] = note;
    this.needs[name] = needs;
    if (name === "useMclip") note.setAttribute("role", "status");
    return el("div", { class: "switch" }, el("label", {}, input, el("span", {}, words)), note);
  }

  /** Why a switch changes nothing as things are; "" where it does. */
  idle(name, state) {
    const { dataset, datasets } = this.page;
    if (!dataset) return "";
    const needs = this.needs[name];
    if (needs && !dataset.filters[needs]) return NOTHING[needs];
    if (name === "hideImages" && !asks(state) && !dataset.filters.duplicates) {
      return `${NO_QUERY} Duplicates were not looked for; run frenchcat dedup DATASET.`;
    }
    if (["aesthetic", "similarities"].includes(name) && !asks(state)) return NO_QUERY;
    if (name === "hybrid" && !worded(state)) return "Only where words are searched for.";
    if (name === "captions" && state.fullCaptions) return "Full captions are shown.";
    if (name === "useMclip" && !datasets.some(multilingual)) {
      return `No dataset here has a multilingual model; ${dataset.model} knows one language.`;
    }
    return "";
  }

  /** Disable the switches that change nothing, and say why. */
  sayIdle(state) {
    for (const [name, note] of Object.entries(this.notes)) {
      const why = this.idle(name, state);
      this.inputs[name].disabled = Boolean(why);
      // What cannot be done is not shown as if it were.
      if (why && this.needs[name]) this.inputs[name].checked = false;
      say(note, why || (name === "useMclip" ? this.multilingual(state) : ""));
    }
    for (const value of ["image", "text"]) this.inputs[`by-${value}`].disabled = !asks(state);
  }

  changes(name, value) {
    if (name !== "useMclip" || !value) return { [name]: value };
    const other = this.page.datasets.find(multilingual);
    const fits = multilingual(this.page.dataset);
    return { useMclip: true, ...(!fits && other && { index: other.name }) };
  }

  over() {
    const choice = (value, words) => {
      const input = el("input", { type: "radio", name: "by", value, id: `by-${value}` });
      input.addEventListener("change", () => this.page.store.set({ by: value }));
      this.inputs[`by-${value}`] = input;
      return el("label", {}, input, el("span", {}, words));
    };
    return el("div", { class: "segments", role: "radiogroup", "aria-label": "Search over" },
      choice("image", "Pictures"), choice("text", "Captions"));
  }

  rating() {
    const score = el("input", { type: "range", min: 0, max: 9, step: 1, id: "score" });
    const weight = el("input", { type: "number", min: -10, max: 10, step: 0.1, id: "weight" });
    for (const input of [score, weight]) {
      input.addEventListener("change", () => this.page.store.set({ [input.id]: Number(input.value) }));
      this.inputs[input.id] = input;
    }
    this.scoreSaid = el("output", { for: "score" });
    score.addEventListener("input", () => (this.scoreSaid.textContent = score.value));
    this.rated = el("div", { class: "rated", hidden: true },
      el("label", {}, "Score ", this.scoreSaid, score), el("label", {}, "Weight", weight));
    return this.rated;
  }

  field(id, event) {
    this.inputs[id] = byId(id);
    byId(id).addEventListener(event, () => this.page.store.set({ [id]: byId(id).value.trim() }));
  }

  reset() {
    const { query, index, back, imageUrl, like, likeOf, picture, terms, beside, selections, outside, view, row, work, ...others } = DEFAULTS;
    this.page.store.set(others);
  }

  get isOpen() {
    return document.body.classList.contains("options-open");
  }

  open(open, focus = true) {
    document.body.classList.toggle("options-open", open);
    const opener = byId("open-options");
    opener.setAttribute("aria-expanded", String(open));
    if (this.page.error) this.page.failed(this.page.error); // where it is said depends on them
    if (!focus) return;
    if (open) byId("index").focus();
    else opener.focus();
  }

  /** Show a state, and what the dataset has to go by. */
  show(state) {
    for (const [name, input] of Object.entries(this.inputs)) {
      if (input.type === "checkbox") input.checked = state[name];
      else if (input.type === "radio") input.checked = state.by === input.value;
      else if (document.activeElement !== input) input.value = state[name];
    }
    this.order(state);
    this.scoreSaid.textContent = state.score;
    this.rated.hidden = !state.aesthetic;
    const { datasets, dataset } = this.page;
    byId("index").replaceChildren(...datasets.map((one) => el("option", { value: one.name }, one.name)));
    byId("index").value = dataset?.name ?? "";
    if (state.index && state.index !== dataset?.name) {
      byId("index").prepend(el("option", { value: state.index }, `${state.index} (not here)`));
      byId("index").value = state.index;
    }
    this.sayIdle(state);
  }

  /** The orders that there are: by each column that has one, upwards and downwards. */
  order(state) {
    const columns = (this.page.where?.names.columns ?? []).filter(({ type }) => SORTED.test(type)).map(({ name }) => name);
    const named = [asks(state) ? "nearest first" : "as listed", ...columns.flatMap((name) => [`${name}, greatest first`, `${name}, least first`])];
    const values = ["", ...columns.flatMap((name) => [`-${name}`, name])];
    if (!values.includes(state.sort)) {
      values.push(state.sort);
      named.push(state.sort);
    }
    byId("sort").replaceChildren(...values.map((value, at) => el("option", { value }, named[at])));
    byId("sort").value = state.sort;
  }

  multilingual(state) {
    const { dataset } = this.page;
    if (!state.useMclip || !dataset) return "";
    return multilingual(dataset)
      ? `${dataset.name} is searched by ${dataset.model}, which knows many languages.`
      : `${dataset.model} knows one language.`;
  }
}
