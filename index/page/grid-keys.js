// From picture to picture by keys: one of them can be tabbed to, arrows go on from it.

import { typing } from "./dom.js";

const MOVES = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"];

export class GridKeys {
  constructor(list, page) {
    this.list = list;
    this.page = page;
    list.addEventListener("keydown", (event) => this.pressed(event));
    list.addEventListener("focusin", (event) => this.rove(event.target.closest(".card")));
  }

  get window() {
    return this.page.results.window;
  }

  /** The card that can be tabbed to. */
  get current() {
    return this.window.card(this.key);
  }

  /** Let one card, and what is in it, be reached by Tab; by default the first. */
  rove(card = this.current ?? this.list.querySelector(".card")) {
    if (!card || card === this.roved) return;
    for (const one of [this.roved, card]) {
      for (const part of one?.querySelectorAll("a, button, input") ?? []) part.tabIndex = one === card ? 0 : -1;
    }
    this.roved = card;
    this.key = card.dataset.key;
  }

  forget() {
    this.roved = this.key = undefined;
  }

  /** Give the focus to a row's card; whether it is there. */
  focus(key) {
    const card = this.window.reveal(key);
    card?.querySelector(".open").focus();
    return Boolean(card);
  }

  /** Give the focus to the card that can be tabbed to. */
  enter() {
    this.focus(this.key);
  }

  pressed(event) {
    // The list itself has the focus where the card that had it is no longer near the window.
    const key = event.target === this.list ? this.key : event.target.closest(".card")?.dataset.key;
    if (!key || typing(event) || event.altKey) return;
    if (this.page.picked.pressed(event, key)) return event.preventDefault();
    if (event.ctrlKey || event.metaKey) return;
    if (MOVES.includes(event.key)) {
      event.preventDefault();
      const aim = this.aim(key, event.key);
      if (aim) this.focus(aim);
      return;
    }
    if (this.page.shortcut(event.key, this.page.results.row(key))) event.preventDefault();
  }

  /** The row that a key of the keyboard leads to. */
  aim(key, pressed) {
    const { rows, places } = this.window;
    const at = places.get(key);
    const line = this.window.count();
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -line, ArrowDown: line };
    if (pressed === "Home") return rows[0]?.key;
    if (pressed === "End") return rows.at(-1)?.key;
    return rows[at + steps[pressed]]?.key;
  }
}
