// Why was this hidden: how many nearer rows are not shown, by reason, and how to see them.

import { button, byId, count, el, some } from "./dom.js";
import { asks } from "./query.js";

const REASONS = {
  unsafe: ["unsafe", { safe: false }],
  violence: ["violent", { violence: false }],
  duplicate: ["near-duplicate", { hideImages: false }],
  url: ["of an address already shown", { hideUrls: false }],
  dropped: ["dropped by a verdict", { hideDropped: false }],
  where: ["outside the condition", { where: "" }],
  selection: ["outside the selection", { selections: "", outside: "" }],
  removed: ["removed on request", null],
  broken: ["broken", null],
};

/** Say it; `counts` is reason -> number. */
export function sayHidden(counts, page) {
  const place = byId("hidden");
  const chips = place.querySelector(".chips");
  const there = Object.keys(REASONS).filter((reason) => counts[reason]);
  place.hidden = !there.length;
  const total = there.reduce((sum, reason) => sum + counts[reason], 0);
  place.querySelector("summary").textContent = `${count(total)} not shown`; // on a phone
  const near = asks(page.store.state) ? "nearer " : ""; // than the last one: only a query has an order
  chips.replaceChildren(el("span", {}, `${some(total, `${near}picture is`, `${near}pictures are`)} not shown: `),
    ...there.map((reason) => chip(reason, counts[reason], page)));
}

function chip(reason, number, page) {
  const [words, changes] = REASONS[reason];
  const text = `${number} ${words}`;
  if (!changes) return el("span", { class: "chip", "data-reason": reason }, text);
  return button(text, () => page.store.set(changes), {
    class: "chip",
    "data-reason": reason,
    title: "Show them",
    "aria-label": `${text}; show them`,
  });
}
