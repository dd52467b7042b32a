// The parts of a query as chips: words and pictures, each added or subtracted, with a weight.

import { button, byId, el, say } from "./dom.js";
import { show } from "./pictures.js";
import { placeOf } from "./state.js";
import { formatTerms, parseTerms, said, termsOf, weighed } from "./terms.js";

const MOST = 16; // parts of a query

export class Composer {
  constructor(page) {
    this.page = page;
    this.place = byId("terms");
    byId("add-term").addEventListener("click", () => this.weigh());
    byId("query").addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || !event.shiftKey) return;
      event.preventDefault();
      this.weigh();
    });
  }

  /** Make a chip of what is typed, and of whatever else is asked; then another part is typed. */
  weigh() {
    const query = byId("query").value.trim();
    this.page.store.set({ ...weighed({ ...this.page.store.state, query }), row: "" });
    byId("query").focus();
  }

  /** Add a row's picture to what is asked, or subtract it. */
  addRow(row, w) {
    const { store, dataset } = this.page;
    const term = { l: row.key, d: dataset.name, w };
    if (termsOf(store.state).length >= MOST) return this.page.failed(new Error(`A query has at most ${MOST} parts.`));
    store.set({ terms: formatTerms([...parseTerms(store.state.terms), term]), row: "", view: "pictures" });
  }

  /** Show the chips of a state. */
  show(state) {
    const terms = parseTerms(state.terms);
    this.place.hidden = !terms.length;
    const had = this.place.contains(document.activeElement) ? document.activeElement.dataset.focus : null;
    this.place.replaceChildren(...terms.map((term, at) => this.chip(term, at, state)));
    if (had) (this.place.querySelector(`[data-focus="${had}"]`) ?? byId("query")).focus();
    const typed = byId("query");
    if (terms.length) typed.placeholder = "and another part";
  }

  chip(term, at, state) {
    const words = said(term);
    const minus = term.w < 0;
    const sign = button(minus ? "−" : "+", () => this.set(at, { ...term, w: -term.w }), {
      class: "sign", "aria-label": minus ? `Add ${words}` : `Subtract ${words}`, title: minus ? "Subtracted; press to add" : "Added; press to subtract", "data-focus": `sign ${at}`,
    });
    const weight = el("input", { type: "number", min: 0, max: 100, step: 0.1, value: Math.abs(term.w), "aria-label": `Weight of ${words}`, "data-focus": `weight ${at}` });
    weight.addEventListener("change", () => {
      const w = Math.min(100, Math.max(0, Number(weight.value)));
      if (Number.isFinite(w) && weight.value !== "") this.set(at, { ...term, w: minus ? -w : w });
      else weight.value = Math.abs(term.w);
    });
    const gone = button("×", () => this.set(at, null), { class: "gone", "aria-label": `Without ${words}`, "data-focus": `gone ${at}` });
    return el("li", { class: minus ? "term minus" : "term", "data-term": at }, sign, this.shown(term, state), weight, gone);
  }

  shown(term, state) {
    if (!term.l && !term.p) return el("span", { class: "words", dir: "auto", title: said(term) }, said(term));
    const image = el("img", { alt: said(term) });
    if (term.p) image.src = `data:image/jpeg;base64,${state.picture}`;
    else show(image, this.page.client, { thumbnail: `v1/thumbnails/${placeOf(term.d ?? this.page.dataset?.name ?? "", term.l)}` }, { size: 96 });
    return image;
  }

  set(at, term) {
    const terms = parseTerms(this.page.store.state.terms);
    const changes = terms[at]?.p && !term ? { picture: "" } : {};
    terms.splice(at, 1, ...(term ? [term] : []));
    this.page.store.set({ ...changes, terms: formatTerms(terms) });
  }
}

/** The selections that rows are looked for in, as chips that can be taken away. */
export function sayWithin(page, state) {
  const chips = [];
  for (const [field, words] of [["selections", "in"], ["outside", "not in"]]) {
    for (const name of state[field].split(",").filter(Boolean)) {
      const left = state[field].split(",").filter((one) => one !== name).join(",");
      chips.push(button(`${words} ${name} ×`, () => page.store.set({ [field]: left }), { class: "chip", "aria-label": `${words} the selection ${name}; press to leave that out` }));
    }
  }
  const place = byId("within");
  say(place, "");
  place.append(...chips);
  place.hidden = !chips.length;
}
