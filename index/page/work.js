// Work-lists: clusters of duplicates, rows that were dropped or failed, by reason, and those that
// stand at an end of a score; what is decided about a row, by hand, is kept in the dataset.

import { languageOf } from "./card.js";
import { open, openIn, prepare } from "./dialogs.js";
import { button, byId, count, el, say, some } from "./dom.js";
import { show, web } from "./pictures.js";
import { literal } from "./query.js";

const LISTS = { duplicates: "Duplicates", dropped: "Dropped", failed: "Failed", outliers: "Outliers", decisions: "Decisions" };
const CLUSTERS = 8; // a page
const SAMPLES = 8; // pictures of a reason
const FAILED = 50; // rows of a reason
const EVERY = { safe: false, violence: true, dropped: true, duplicates: true };
const ENDS = [
  ["caption_similarity", "captions that fit their picture least", ""],
  ["aesthetic", "what is rated least beautiful", ""],
  ["punsafe", "what is most likely unsafe", "-"],
  ["pwatermark", "what is most likely watermarked", "-"],
  ["sharpness", "the least sharp", ""],
  ["caption_words", "the shortest captions", ""],
  ["original_bytes", "the smallest files", ""],
  ["width", "the narrowest", ""],
  ["multiplicity", "what has the most copies", "-"],
];

export class Work {
  constructor(page) {
    this.page = page;
    this.dialog = prepare(byId("work"), () => page.store.state.work && page.store.close());
    byId("open-work").addEventListener("click", () => page.store.set({ work: this.first }));
  }

  /** The list that is opened first: of duplicates, where they were looked for. */
  get first() {
    return this.page.clusters ? "duplicates" : "dropped";
  }

  get path() {
    return `v1/datasets/${encodeURIComponent(this.page.dataset.name)}`;
  }

  /** Follow the state. */
  show(state) {
    if (!state.work) {
      this.list = null;
      if (this.dialog.open) this.dialog.close();
      return;
    }
    const list = state.work in LISTS ? state.work : this.first;
    if (list !== this.list) this.open(list);
  }

  open(list) {
    this.list = list;
    this.error = el("p", { class: "error", role: "alert", hidden: true });
    this.done = el("p", { class: "decided", role: "status" });
    this.body = el("div", { class: "work" }, el("p", { class: "dim" }, "Looking…"));
    const tabs = Object.entries(LISTS).map(([name, words]) =>
      button(words, () => this.page.store.set({ work: name }, { replace: true }), { "aria-pressed": String(name === list), "data-focus": name }));
    open(this.dialog,
      el("header", {}, el("h2", { id: "work-title" }, "Work-lists"),
        button("Close", () => this.dialog.close(), { class: "close", "data-focus": "close", autofocus: true })),
      el("div", { class: "tabs", role: "group", "aria-label": "List" }, ...tabs), this.error, this.done, this.body);
    this.fill();
  }

  /** Fill the list that is open. */
  async fill() {
    const { list } = this;
    try {
      const content = await this[list]();
      if (this.list === list) openIn(this.dialog, this.body, ...content);
    } catch (error) {
      this.body.replaceChildren();
      say(this.error, error.message);
    }
  }

  // -- duplicates ------------------------------------------------------------------------------

  async duplicates() {
    this.skip ??= 0;
    const undecided = this.undecided ?? true;
    const found = await this.page.client.get(`${this.path}/clusters?k=${CLUSTERS}&skip=${this.skip}&undecided=${undecided}`);
    const box = el("input", { type: "checkbox", "data-focus": "undecided" });
    box.checked = undecided;
    box.addEventListener("change", () => {
      this.undecided = box.checked;
      this.skip = 0;
      this.fill();
    });
    const { total } = found;
    if (!this.page.clusters) return [el("p", { class: "dim" }, "Duplicates were not looked for; run frenchcat dedup DATASET.")];
    const to = (skip) => () => {
      this.skip = skip;
      this.fill();
    };
    return [
      el("p", { class: "dim" }, `${some(total, "cluster")}, the largest first.`),
      el("label", { class: "check" }, box, el("span", {}, "Only those that nobody has decided about")),
      ...found.clusters.map((cluster) => this.cluster(cluster)),
      el("div", { class: "buttons" },
        this.skip ? button("Before", to(Math.max(0, this.skip - CLUSTERS)), { "data-focus": "before" }) : null,
        this.skip + CLUSTERS < total ? button("Next", to(this.skip + CLUSTERS), { "data-focus": "next" }) : null),
    ];
  }

  cluster({ rows, members }) {
    const more = rows > members.length ? `, of which ${members.length} are shown` : "";
    return el("div", { class: "cluster", role: "group", "aria-label": `Cluster of ${some(rows, "row")}` }, el("h3", {}, `${some(rows, "row")}${more}`),
      el("ul", { class: "samples" }, ...members.map((row) => this.member(row, members))));
  }

  member(row, members) {
    const size = row.width ? `${row.width} × ${row.height}` : "";
    const stays = row.keep === false ? `dropped: ${row.reason ?? "no reason given"}` : row.duplicate_of ? "a copy" : "stays";
    const others = members.filter(({ key }) => key !== row.key).map(({ key }) => key);
    const buttons = [];
    if (this.page.config.mayDecide) {
      buttons.push(
        button("Keep", () => this.decide(true, [row.key]), { "aria-pressed": String(row.by_hand === true), "aria-label": `Keep ${row.caption || row.key}`, "data-focus": `keep ${row.key}` }),
        button("Drop", () => this.decide(false, [row.key]), { "aria-pressed": String(row.by_hand === false), "aria-label": `Drop ${row.caption || row.key}`, "data-focus": `drop ${row.key}` }));
      if (others.length) buttons.push(button("Only this", () => this.only(row.key, others), { "aria-label": `Keep ${row.caption || row.key}, drop the others`, title: "Keep this, drop the others", "data-focus": `only ${row.key}` }));
    }
    return el("li", { "data-key": row.key }, this.picture(row),
      el("p", { class: "dim" }, [size, stays].filter(Boolean).join(" · ")), el("div", { class: "buttons" }, ...buttons));
  }

  async only(key, others) {
    if (await this.decide(true, [key], false)) await this.decide(false, others);
  }

  picture(row) {
    const image = el("img", { alt: row.caption || "a picture without a caption", lang: languageOf(row), loading: "lazy" });
    show(image, this.page.client, row, { size: 200 });
    const frame = button("", () => this.page.store.set({ work: "", row: row.key }), { class: "frame", "aria-label": `Open ${row.caption || row.key}` });
    frame.append(image);
    return frame;
  }

  // -- dropped, failed, outliers ---------------------------------------------------------------

  async dropped() {
    const { dropped } = await this.page.client.get(`${this.path}/info`);
    const reasons = Object.entries(dropped);
    if (!reasons.length) return [el("p", { class: "dim" }, "No row is dropped.")];
    return Promise.all(reasons.map(([reason, number]) => this.reason(reason, number)));
  }

  /** A reason, how many rows it drops, and some of them. */
  async reason(reason, number) {
    const head = el("h3", {}, `${reason}: ${some(number, "row")}`);
    if (reason === "removed") return el("section", {}, head, el("p", { class: "dim" }, "Named by removal requests; they are not shown."));
    if (reason.startsWith("not_embedded")) return el("section", {}, head, el("p", { class: "dim" }, "They have no vector, so no search finds them."));
    const where = `reason = ${literal(reason)}`;
    const asked = { ...EVERY, where, k: SAMPLES };
    // One that takes too long does not hide the others.
    const { rows, error } = await this.page.client.post(`${this.path}/rows`, asked).catch((error) => ({ rows: [], error }));
    const every = { query: "", imageUrl: "", like: "", likeOf: "", picture: "", terms: "", selections: "", outside: "", sort: "", safe: false, violence: false, hideUrls: false, hideImages: false, hideDropped: false };
    const buttons = [button("Look through them", () => this.page.store.set({ ...every, work: "", view: "pictures", where }))];
    return el("section", { class: "reason", "data-reason": reason }, head, error ? el("p", { class: "error" }, error.message) : null,
      el("ul", { class: "samples" }, ...rows.map((row) => this.sample(row))), el("div", { class: "buttons" }, ...buttons));
  }

  sample(row) {
    const keep = this.page.config.mayDecide
      ? button("Keep", () => this.decide(true, [row.key]), { "aria-label": `Keep ${row.caption || row.key}`, "data-focus": `keep ${row.key}` }) : null;
    return el("li", { "data-key": row.key }, this.picture(row), el("div", { class: "buttons" }, keep));
  }

  async failed() {
    const { reasons } = await this.page.client.get(`${this.path}/failed?k=1`);
    const names = Object.entries(reasons);
    if (!names.length) return [el("p", { class: "dim" }, "No row has failed.")];
    const again = el("p", { class: "dim" }, "What may have an image by now is requested again by ", el("code", {}, "frenchcat download --retry-failed --out DATASET"), "; with --all what failed for good, too.");
    return [again, ...names.map(([reason, number]) => {
      const rows = el("ul", { class: "failed" });
      const part = el("details", { "data-reason": reason }, el("summary", {}, `${reason}: ${some(number, "row")}`), rows);
      part.addEventListener("toggle", () => part.open && !rows.children.length && this.attempt(async () => {
        const found = await this.page.client.get(`${this.path}/failed?k=${FAILED}&reason=${encodeURIComponent(reason)}`);
        rows.replaceChildren(...found.rows.map((row) => this.failure(row)));
        const left = found.total - found.rows.length;
        if (left > 0) rows.append(el("li", { class: "dim" }, `and ${count(left)} more`));
      }));
      return part;
    })];
  }

  failure({ key, url, caption, detail }) {
    const there = web(url ?? "");
    const address = there ? el("a", { href: there, rel: "noreferrer nofollow", target: "_blank" }, url) : url ?? "";
    return el("li", { "data-key": key }, el("p", { class: "caption", dir: "auto" }, caption ?? ""), el("p", { class: "dim" }, address),
      detail ? el("p", { class: "dim" }, detail) : null);
  }

  async outliers() {
    await this.page.learnt;
    const columns = this.page.where.columns ?? new Set();
    const there = ENDS.filter(([column]) => columns.has(column));
    if (!there.length) return [el("p", { class: "dim" }, "There are no scores yet; run frenchcat score DATASET.")];
    return Promise.all(there.map(async ([column, words, sign]) => {
      const { rows } = await this.page.client.post(`${this.path}/rows`, { ...EVERY, dropped: false, sort: sign + column, k: SAMPLES });
      return el("section", { class: "reason", "data-column": column }, el("h3", {}, `${column}: ${words}`),
        el("ul", { class: "samples" }, ...rows.map((row) => this.outlier(row, column))),
        el("div", { class: "buttons" }, button("Look through them", () =>
          this.page.store.set({ query: "", imageUrl: "", like: "", likeOf: "", picture: "", terms: "", work: "", view: "pictures", sort: sign + column, safe: false, violence: false }))));
    }));
  }

  outlier(row, column) {
    const value = row[column];
    const drop = this.page.config.mayDecide
      ? button("Drop", () => this.decide(false, [row.key]), { "aria-label": `Drop ${row.caption || row.key}`, "data-focus": `drop ${row.key}` }) : null;
    const short = typeof value === "number" && !Number.isInteger(value) ? value.toPrecision(3) : value;
    return el("li", { "data-key": row.key }, this.picture(row), el("p", { class: "dim" }, String(short ?? "")), el("div", { class: "buttons" }, drop));
  }

  // -- decisions -------------------------------------------------------------------------------

  async decisions() {
    const made = (await this.page.client.get(`${this.path}/decisions`)).reverse();
    if (!made.length) return [el("p", { class: "dim" }, "Nothing was decided by hand yet.")];
    return [el("ul", { class: "failed" }, ...made.map((one) => {
      const what = one.undoes ? `undoes ${one.undoes}` : `${one.keep ? "keep" : "drop"} ${some(one.keys.length, "row")}`;
      const undo = this.page.config.mayDecide && !one.undoes && !one.undone
        ? button("Undo", () => this.undo(one.number), { "aria-label": `Undo decision ${one.number}`, "data-focus": `undo ${one.number}` }) : null;
      return el("li", { "data-decision": one.number }, el("p", {}, `${one.number}: ${what}${one.undone ? ", undone" : ""}`),
        el("p", { class: "dim" }, [one.time.slice(0, 16).replace("T", " "), one.note, one.keys.slice(0, 5).join(", ")].filter(Boolean).join(" · ")), undo);
    }))];
  }

  /** Keep or drop rows; whether that was done. `again`: show the list anew. */
  async decide(keep, keys, again = true) {
    return this.attempt(async () => {
      const made = await this.page.client.post(`${this.path}/decisions`, { keep, keys });
      this.say(made);
      if (again) await this.changed();
    });
  }

  async undo(number) {
    return this.attempt(async () => {
      await this.page.client.send("DELETE", `${this.path}/decisions/${number}`);
      this.place.textContent = `Decision ${number} is undone.`;
      await this.changed();
    });
  }

  say(made) {
    const text = `${some(made.keys.length, "row")} ${made.keep ? "kept" : "dropped"}. `;
    const undo = button("Undo", () => this.undo(made.number), { "data-focus": "undo" });
    this.place.hidden = false;
    this.place.replaceChildren(text, undo);
  }

  /** Where it is said what was decided. */
  get place() {
    return this.list ? this.done : byId("decided");
  }

  /** What is seen follows what was decided. */
  async changed() {
    this.page.again();
    if (this.list) await this.fill();
  }

  async attempt(run) {
    try {
      await run();
      if (this.error) say(this.error, "");
      return true;
    } catch (error) {
      if (this.list) say(this.error, error.message);
      else this.page.failed(error);
      return false;
    }
  }
}
