// One picture, large: its caption, credit and columns, and what can be done from it.

import { credit } from "./credit.js";
import { badge, languageOf } from "./card.js";
import { openIn, prepare } from "./dialogs.js";
import { button, byId, el, some, typing } from "./dom.js";
import { save, show } from "./pictures.js";

const ELSEWHERE = ["picture", "thumbnail", "stored", "caption", "similarity", "copies"];
const LONG = 600; // characters of a caption that is scrolled
const SWIPE_PX = 50;
const AHEAD = 3; // rows before the end of the list, where the next page is fetched

const FIRST = ["keep", "reason", "opted_out", "synthetic", "language", "width", "height", "caption_similarity", "aesthetic", "punsafe", "pwatermark", "multiplicity", "contradicting"];
const LAST = ["sha256", "stored_sha256", "pdq", "hash", "uid", "exif"]; // long, and for programs

/** A value in few digits. */
function said(value) {
  if (typeof value === "number" && !Number.isInteger(value)) return String(Number(value.toPrecision(4)));
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

export class Detail {
  constructor(page) {
    this.page = page;
    this.dialog = prepare(byId("detail"), () => this.closed());
    this.dialog.addEventListener("keydown", (event) => this.pressed(event));
    // Beside what changes, so that it is read when the picture does.
    this.touches();
    this.said = el("p", { class: "unseen", role: "status" });
    this.body = el("div", { class: "detail-body" });
    this.dialog.append(this.body, this.said);
  }

  /** A swipe goes to the next picture; a tap or a click shows it larger, and all of it again. */
  touches() {
    let from = null;
    this.dialog.addEventListener("touchstart", ({ touches, target }) => {
      const zoomed = target.closest(".zoomed") || visualViewport.scale > 1.05;
      from = touches.length === 1 && target.closest(".stage") && !zoomed ? touches[0] : null;
    }, { passive: true });
    this.dialog.addEventListener("touchend", ({ changedTouches: [to] }) => {
      if (!from) return;
      const [across, down] = [to.clientX - from.clientX, to.clientY - from.clientY];
      from = null;
      if (Math.abs(across) < SWIPE_PX || Math.abs(across) < 2 * Math.abs(down)) return;
      const { before, after } = this.neighbours();
      if (across > 0) before?.();
      else if (after) after();
    }, { passive: true });
    this.dialog.addEventListener("click", ({ target }) => {
      if (target.matches(".stage img")) target.closest(".stage").classList.toggle("zoomed");
    });
  }

  /** Follow the state: open its row, or close. */
  async show(state) {
    if (!state.row) {
      if (this.dialog.open) this.dialog.close();
      return;
    }
    if (this.dialog.open && this.row?.key === state.row) return;
    const row = this.page.results.row(state.row) ?? (await this.fetched(state.row));
    if (row && this.page.store.state.row === state.row) this.open(row);
  }

  async fetched(key) {
    try {
      return await this.page.client.get(`v1/rows/${this.page.place(key)}`);
    } catch (error) {
      this.page.failed(error);
      this.page.store.set({ row: "" }, { replace: true });
      return null;
    }
  }

  /** Show anew what is open: something about it has changed. */
  async renew(key) {
    const row = await this.fetched(key);
    if (row && this.row?.key === key) this.open(row);
  }

  open(row) {
    const stepped = this.dialog.open;
    this.row = row;
    const image = el("img", { alt: row.caption || "a picture without a caption", lang: languageOf(row) });
    show(image, this.page.client, row, { broken: () => image.replaceWith(el("p", {}, "The picture cannot be shown.")) });
    const { before, after } = this.neighbours();
    const words = el("p", { class: "words", dir: "auto", lang: languageOf(row), tabindex: (row.caption ?? "").length > LONG ? 0 : null }, row.caption ?? "");
    openIn(this.dialog, this.body,
      el("div", { class: "stage" }, image,
        this.step("before", "‹", "The picture before", before), this.step("after", "›", "The next picture", after)),
      el("div", { class: "facts" },
        button("Close", () => this.dialog.close(), { class: "close", autofocus: true, "data-focus": "close" }),
        badge(row), words, credit(row, { links: true }), this.otherwise(row), this.actions(row), this.columns(row)));
    this.said.textContent = stepped ? row.caption || "a picture without a caption" : "";
    if (stepped) this.ahead();
  }

  /** What another row says of the same image, where it says something else. */
  otherwise(row) {
    if (!row.contradicting || !row.also_seen_as) return null;
    const line = el("p", { class: "dim also-seen", dir: "auto" });
    this.page.client.get(`v1/rows/${this.page.place(row.also_seen_as)}`).then((other) => {
      const host = URL.canParse(other.url) ? ` at ${new URL(other.url).hostname}` : "";
      line.append("Also seen as ", button(`“${other.caption}”`, () => this.go(other)), host);
    }, () => line.remove()); // removed since
    return line;
  }

  /** What lies beside it among the results: functions that go there. */
  neighbours() {
    const { results } = this.page;
    const { shown } = results;
    const at = shown.findIndex((row) => row.key === this.row?.key);
    if (at < 0) return {};
    const to = (row) => row && (() => this.go(row));
    const after = to(shown[at + 1]) || (!results.done && (() => this.goFurther()));
    return { before: to(shown[at - 1]), after, left: shown.length - at - 1 };
  }

  step(side, text, label, go) {
    if (!go) return null;
    return button(text, go, { class: `step ${side}`, "aria-label": label, "data-focus": side });
  }

  go(row) {
    this.page.store.set({ row: row.key }, { replace: true });
  }

  /** Go on where the results go on. */
  async goFurther() {
    const { key } = this.row;
    await this.page.results.more();
    if (this.row?.key !== key) return;
    const { shown } = this.page.results;
    const next = shown[shown.findIndex((row) => row.key === key) + 1];
    if (next) this.go(next);
  }

  /** Have the next results there before they are gone to. */
  ahead() {
    const { left } = this.neighbours();
    if (left <= AHEAD) this.page.results.more();
  }

  actions(row) {
    const { page } = this;
    const made = el("div", { class: "detail-actions" },
      button("Search by picture", () => page.ask(page.like(row))));
    made.append(button("+ to the query", () => page.composer.addRow(row, 1)), button("− from the query", () => page.composer.addRow(row, -1)));
    if (row.caption) made.append(button("Search by caption", () => page.ask({ query: row.caption })));
    if (row.copies) made.append(button(some(row.copies, "copy", "copies"), () => page.duplicates(row)));
    if (row.stored) made.append(button("Save picture", () => save(page.client, row).catch((error) => page.failed(error))));
    if (page.config.mayDecide) {
      made.append(row.keep === false ? button("Keep it", () => page.decide(true, [row.key])) : button("Drop it", () => page.decide(false, [row.key])));
    }
    if (page.config.mayRemove) made.append(button("Remove…", () => page.remove(row), { class: "warn" }));
    else if (page.contact(row)) made.append(el("a", { class: "button warn", href: page.contact(row) }, "Report…"));
    return made;
  }

  columns(row) {
    const names = Object.keys(row).filter((name) => !ELSEWHERE.includes(name) && row[name] !== null && row[name] !== "");
    const place = (name) => (FIRST.includes(name) ? FIRST.indexOf(name) - FIRST.length : LAST.includes(name) ? 1 : 0);
    names.sort((one, other) => place(one) - place(other));
    const lines = names.map((name) => el("div", {}, el("dt", {}, name), el("dd", {}, said(row[name]))));
    if (row.similarity !== undefined) {
      lines.unshift(el("div", {}, el("dt", {}, "similarity"), el("dd", {}, row.similarity.toFixed(4))));
    }
    return el("dl", { class: "columns" }, ...lines);
  }

  pressed(event) {
    if (typing(event) || event.ctrlKey || event.metaKey || event.altKey) return;
    const { before, after } = this.neighbours();
    if (event.key === "ArrowLeft") before?.();
    else if (event.key === "ArrowRight") after && after();
    else if (!this.page.shortcut(event.key, this.row)) return;
    event.preventDefault();
  }

  closed() {
    const key = this.row?.key;
    const { store } = this.page;
    this.row = null;
    if (store.state.row) store.close();
    // Else to what opened it, as the dialog itself does.
    if (store.state.view === "map") byId("canvas").focus();
    else this.page.results.keys.focus(key);
  }
}
