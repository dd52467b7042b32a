// What is offered before anything was asked: the first queries that people type.

import { button, byId, el } from "./dom.js";
import { asks } from "./query.js";

const TRY = ["french cat", "a red apple", "un oiseau", "a house by the sea"];

/** Show it where nothing is asked. */
export function welcome(page, state) {
  const place = byId("welcome");
  place.hidden = asks(state) || Boolean(state.where.trim());
  if (place.hidden || place.children.length) return;
  place.append(el("p", {}, "Try ", ...TRY.flatMap((words, at) => [
    at ? " " : "",
    button(words, () => page.store.set({ query: words }), { class: "chip" }),
  ]), ", drop a picture, or just look around."));
}
