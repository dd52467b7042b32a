// One picture among the results.

import { credit } from "./credit.js";
import { button, el, some } from "./dom.js";
import { show } from "./pictures.js";
import { format } from "./state.js";
import { CARD_PX } from "./thumbnail.js";

const SHORT = 50; // characters of a caption, as LAION's page shows

/** A row's list item. `broken` is called where its picture does not load. */
export function card(row, page, broken) {
  const image = el("img", { alt: row.caption || "a picture without a caption", lang: languageOf(row), loading: "lazy" });
  show(image, page.client, row, { size: CARD_PX, broken });
  image.addEventListener("load", () => image.classList.add("loaded"), { once: true });
  const open = el("a", { class: "open", tabindex: -1, href: format({ ...page.store.state, row: row.key }) },
    el("span", { class: "frame" }, image));
  open.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    page.store.set({ row: row.key });
  });
  const about = el("div", { class: "about" }, badge(row), el("p", { class: "caption", dir: "auto", lang: languageOf(row) }), credit(row));
  if (row.similarity !== undefined) about.append(similarity(row));
  about.append(actions(row, page));
  const pick = el("input", { type: "checkbox", class: "pick", tabindex: -1, "aria-label": `Pick ${row.caption || row.key}` });
  const item = el("li", { class: "card", "data-key": row.key }, open, about, pick); // last for Tab, too
  page.picked.dress(item);
  return dress(item, row, page.store.state);
}

/** Show of a card what the display toggles say. */
export function dress(item, row, state) {
  const caption = item.querySelector(".caption");
  const text = row.caption ?? "";
  const short = text.length > SHORT ? `${text.slice(0, SHORT)}…` : text;
  caption.textContent = state.fullCaptions ? text : short;
  caption.hidden = !text || !(state.captions || state.fullCaptions);
  const similar = item.querySelector(".similarity");
  if (similar) similar.hidden = !state.similarities;
  return item;
}

/** The language of a row's caption, as HTML names it, where it was told. */
export function languageOf(row) {
  const sure = (row.language_confidence ?? 1) >= 0.5;
  return sure && /^[a-z]{2,3}$/.test(row.language ?? "") && row.language !== "und" ? row.language : null;
}

/** Why verdicts drop a row; null where none does. */
export function badge(row) {
  if (row.keep !== false) return null;
  const reason = row.reason ?? "no reason given";
  return el("p", { class: "dropped" }, `dropped: ${reason}`);
}

function similarity(row) {
  const bar = el("i");
  bar.style.width = `${Math.round(Math.max(0, Math.min(1, row.similarity)) * 100)}%`;
  const text = row.similarity.toFixed(3);
  return el("p", { class: "similarity" }, el("span", {}, text), el("span", { class: "track" }, bar));
}

function actions(row, page) {
  const by = (text, changes, label) =>
    button(text, () => page.ask(changes), { tabindex: -1, "aria-label": label, title: label });
  const made = el("div", { class: "card-actions" });
  made.append(by("Picture", page.like(row), "Search by this picture"));
  if (row.caption) made.append(by("Caption", { query: row.caption }, "Search by this caption"));
  const weighed = (text, w, label) =>
    button(text, () => page.composer.addRow(row, w), { tabindex: -1, "aria-label": label, title: label, class: "weighed" });
  made.append(weighed("+", 1, "Add this picture to the query"), weighed("−", -1, "Subtract this picture from the query"));
  if (row.copies) {
    const text = some(row.copies, "copy", "copies");
    const label = `${text} of this picture`;
    made.append(button(text, () => page.duplicates(row), { tabindex: -1, "aria-label": label, title: label }));
  }
  return made;
}
