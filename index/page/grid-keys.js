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

  get cards() {
    return [...this.list.querySelectorAll(".card:not([hidden])")];
  }

  /** Let one card, and what is in it, be reached by Tab; by default the first. */
  rove(card = this.list.querySelector(".card:not([hidden])")) {
    if (!card || card === this.current) return;
    for (const one of [this.current, card]) {
      for (const part of one?.querySelectorAll("a, button, input") ?? []) part.tabIndex = one === card ? 0 : -1;
    }
    this.current = card;
  }

  forget() {
    this.current = undefined;
  }

  /** Give the focus to a row's card; whether it is there. */
  focus(key) {
    const card = this.cards.find((one) => one.dataset.key === key);
    card?.querySelector(".open").focus();
    return Boolean(card);
  }

  /** Give the focus to the card that can be tabbed to. */
  enter() {
    this.current?.querySelector(".open").focus();
  }

  pressed(event) {
    const card = event.target.closest(".card");
    if (!card || typing(event) || event.altKey) return;
    if (this.page.picked.pressed(event, card.dataset.key)) return event.preventDefault();
    if (event.ctrlKey || event.metaKey) return;
    if (MOVES.includes(event.key)) {
      event.preventDefault();
      this.aim(card, event.key)?.querySelector(".open").focus();
      return;
    }
    const row = this.page.results.row(card.dataset.key);
    const done = this.page.shortcut(event.key, row);
    if (done) event.preventDefault();
  }

  /** The card that a key leads to. */
  aim(card, key) {
    const cards = this.cards;
    const at = cards.indexOf(card);
    if (key === "Home") return cards[0];
    if (key === "End") return cards.at(-1);
    if (key === "ArrowLeft") return cards[at - 1];
    if (key === "ArrowRight") return cards[at + 1];
    const row = key === "ArrowUp" ? cards.slice(0, at).reverse() : cards.slice(at + 1);
    return row.find((one) => Math.abs(one.offsetLeft - card.offsetLeft) < card.offsetWidth / 2);
  }
}
