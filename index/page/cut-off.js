// Where a ranking is cut off: by similarity, with how many rows that comes to and the pictures on
// both sides of it. All similarities are fetched at once, so that the number follows the slider.

import { el, later } from "./dom.js";
import { show } from "./pictures.js";
import { search } from "./query.js";

const MOST = 10_000; // rows of a ranking
const BESIDE = 4; // pictures on each side
const STEP = 0.001;

/** How many rows stand out of a ranking: those above the median by two deviations of the bulk.
 *
 * The deviation is 1.4826 times the median distance from the median, which the rows that stand out
 * do not move (Hampel, "The Influence Curve and Its Role in Robust Estimation", 1974).
 * `similarities` fall.
 */
export function standingOut(similarities) {
  const middle = median(similarities);
  const spread = 1.4826 * median(similarities.map((one) => Math.abs(one - middle)).sort((a, b) => b - a));
  return Math.max(1, similarities.filter((one) => one > middle + 2 * spread).length);
}

const median = (sorted) => sorted[Math.floor(sorted.length / 2)];

export class CutOff {
  constructor(page, state) {
    this.page = page;
    this.state = state;
    this.similarities = [];
    const most = Math.min(page.maxHits, MOST, page.dataset.rows);
    this.most = most;
    this.number = el("input", { id: "selection-k", type: "number", min: 1, max: most, required: true });
    this.slider = el("input", { id: "selection-cut", type: "range", min: 0, max: 1, step: STEP, disabled: true });
    this.said = el("output", { for: "selection-cut" }, "…");
    this.border = el("ul", { class: "border", "aria-label": "Pictures at the border" });
    this.status = el("p", { class: "dim", role: "status", id: "selection-count" }, "Looking…");
    this.number.addEventListener("input", () => this.byNumber());
    this.slider.addEventListener("input", () => this.bySimilarity());
    this.lookSoon = later(150, () => this.look());
    this.element = el("div", { class: "cut-off" },
      el("div", { class: "cut" },
        el("label", {}, "Similarity of at least ", this.said, this.slider),
        el("label", {}, "Rows", this.number)),
      this.status, this.border);
  }

  /** How many rows are chosen. */
  get k() {
    return Number(this.number.value);
  }

  stop() {
    this.asking?.abort();
  }

  body(k, skip) {
    // A selection never holds what verdicts drop.
    return { ...search({ ...this.state, sort: "", hybrid: false }, k, skip), dataset: this.page.dataset.name, dropped: false };
  }

  /** Learn the ranking. */
  async begin() {
    try {
      const found = await this.page.client.post("v1/search", { ...this.body(this.most, 0), columns: [] });
      this.similarities = found.hits.map(({ similarity }) => similarity);
    } catch (error) {
      this.status.textContent = error.message;
      return;
    }
    const { similarities } = this;
    if (!similarities.length) return (this.status.textContent = "No row meets the filters.");
    this.number.max = similarities.length;
    // Rounded outwards, so that the slider reaches all of them and none but the nearest.
    this.slider.min = Math.floor(similarities.at(-1) / STEP) * STEP;
    this.slider.max = similarities[0];
    this.slider.disabled = false;
    if (!this.number.value) this.number.value = standingOut(similarities);
    this.byNumber();
  }

  byNumber() {
    const { similarities } = this;
    const cut = similarities[Math.min(this.k, similarities.length) - 1];
    if (cut === undefined) return;
    this.slider.value = cut;
    this.say(cut);
  }

  bySimilarity() {
    const cut = Number(this.slider.value);
    const below = this.similarities.findIndex((one) => one < cut);
    this.number.value = Math.max(1, below < 0 ? this.similarities.length : below);
    this.say(cut);
  }

  say(cut) {
    this.said.textContent = cut.toFixed(3);
    const all = this.similarities.length;
    const more = all === this.most && all < this.page.dataset.rows ? ` nearest of ${this.page.dataset.rows.toLocaleString("en")}` : "";
    this.status.textContent = `${this.k.toLocaleString("en")} of ${all.toLocaleString("en")}${more} rows. The last ones chosen, and the first ones left out:`;
    this.lookSoon();
  }

  /** Show the pictures at the border. */
  async look() {
    this.stop();
    const asking = (this.asking = new AbortController());
    const { k } = this;
    if (!(k >= 1)) return;
    const skip = Math.max(0, k - BESIDE);
    const most = Math.min(k + BESIDE, this.page.maxHits) - skip;
    try {
      const { hits } = await this.page.client.post("v1/search", this.body(most, skip), asking.signal);
      this.border.replaceChildren(...hits.map((row, at) => this.picture(row, skip + at < k)));
    } catch (error) {
      if (error.name !== "AbortError") this.status.textContent = error.message;
    }
  }

  picture(row, chosen) {
    const words = `${chosen ? "chosen" : "left out"}: ${row.caption || row.key}`;
    const image = el("img", { alt: words, title: words });
    show(image, this.page.client, row, { size: 96 });
    return el("li", { class: chosen ? "in" : "out", "data-key": row.key },
      el("span", { class: "frame" }, image), el("small", {}, row.similarity.toFixed(3)));
  }
}
