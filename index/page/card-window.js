// The cards near the window: of thousands of rows only some hundred are in the document, so that
// scrolling stays smooth and memory flat. The list's padding stands for the others.

const KEPT = 300; // cards that are in the document; fewer rows are there as a whole
const BEFORE = 0.4; // of them above the window's first

export class CardWindow {
  /** `make` gives a row's card, `changed` is told of cards that came. */
  constructor(list, make, changed = () => {}) {
    this.list = list;
    this.make = make;
    this.changed = changed;
    this.clear();
    let waiting = false;
    const soon = (run) => {
      if (waiting || this.rows.length <= KEPT) return;
      waiting = true;
      requestAnimationFrame(() => {
        waiting = false;
        run();
      });
    };
    addEventListener("scroll", () => soon(() => this.update()), { passive: true });
    addEventListener("resize", () => soon(() => this.measureAnew()));
  }

  /** Nothing is there. */
  clear() {
    this.rows = [];
    this.places = new Map(); // by key
    this.first = this.last = 0; // what is in the document: rows[first] up to, not with, rows[last]
    this.heights = []; // of lines of the grid, where they were seen; pixels
    this.gap = 0;
    this.total = -1; // not known
    this.list.replaceChildren();
    this.whole();
  }

  /** The padding stands for nothing. */
  whole() {
    this.counted = undefined;
    this.list.classList.remove("windowed");
    this.list.style.paddingTop = this.list.style.paddingBottom = "";
  }

  push(rows) {
    for (const row of rows) {
      this.places.set(row.key, this.rows.length);
      this.rows.push(row);
    }
    this.update();
  }

  /** Take a row out, whose card is in the document. */
  remove(key) {
    const at = this.places.get(key);
    if (at === undefined) return;
    this.rows.splice(at, 1);
    this.places.delete(key);
    for (let place = at; place < this.rows.length; place += 1) this.places.set(this.rows[place].key, place);
    if (at >= this.last || at < this.first) return;
    this.list.children[at - this.first].remove();
    this.last -= 1;
    this.heights.length = Math.min(this.heights.length, Math.floor(at / this.columns));
    this.update();
  }

  /** The card of a row, if it is in the document. */
  card(key) {
    const at = this.places.get(key);
    return at >= this.first && at < this.last ? this.list.children[at - this.first] : undefined;
  }

  /** The card of a row, brought into the document, and near the window. */
  reveal(key) {
    const at = this.places.get(key);
    if (at === undefined) return undefined;
    if (at < this.first || at >= this.last) {
      scrollTo({ top: this.top + this.offset(Math.floor(at / this.columns)) - innerHeight / 3 });
      this.update();
    }
    return this.card(key);
  }

  /** The row that is seen first, and how far below the window's upper edge it begins; pixels. */
  get anchor() {
    for (const card of this.list.children) {
      const { bottom, top } = card.getBoundingClientRect();
      if (bottom > 0) return { key: card.dataset.key, top };
    }
    return null;
  }

  /** Scroll so that an anchor is where it was. */
  returnTo({ key, top }) {
    const card = this.reveal(key);
    if (card) scrollBy({ top: card.getBoundingClientRect().top - top });
  }

  /** Look anew how high things are: the window, or what cards show, has changed. */
  measureAnew() {
    if (this.rows.length <= KEPT) return;
    const { anchor } = this;
    this.heights = [];
    this.update(true);
    if (anchor) this.returnTo(anchor);
  }

  get columns() {
    return this.counted ?? this.count();
  }

  count() {
    const template = getComputedStyle(this.list).gridTemplateColumns;
    return Math.max(1, template.split(" ").filter((one) => one.endsWith("px")).length);
  }

  /** Where the list begins in the document; pixels. */
  get top() {
    return this.list.getBoundingClientRect().top + scrollY;
  }

  /** How far from the list's beginning a line begins; pixels. */
  offset(line) {
    const known = this.heights.filter(Boolean);
    this.usual = known.length ? known.reduce((sum, one) => sum + one, 0) / known.length : this.usual ?? 300;
    let sum = 0;
    for (let at = 0; at < line; at += 1) sum += (this.heights[at] ?? this.usual) + this.gap;
    return sum;
  }

  /** The line at a distance from the list's beginning. */
  lineAt(distance, lines) {
    let sum = 0;
    for (let at = 0; at < lines; at += 1) {
      sum += (this.heights[at] ?? this.usual ?? 300) + this.gap;
      if (sum > distance) return at;
    }
    return Math.max(0, lines - 1);
  }

  /** Have those cards in the document that are near the window. */
  update(anew = false) {
    const { length } = this.rows;
    if (length <= KEPT) {
      this.whole();
      return this.place(0, length);
    }
    const columns = this.count();
    if (columns !== this.counted || !this.list.classList.contains("windowed")) {
      this.counted = columns;
      this.heights = [];
      this.list.classList.add("windowed");
      anew = true;
    }
    this.gap = parseFloat(getComputedStyle(this.list).rowGap) || 0;
    if (anew && this.last) {
      const first = Math.floor(this.first / columns) * columns;
      this.place(first, this.last);
      this.measure(first, this.last);
    }
    const lines = Math.ceil(length / columns);
    const kept = Math.ceil(KEPT / columns);
    const seen = this.lineAt(scrollY - this.top, lines);
    const line = Math.max(0, Math.min(seen - Math.floor(kept * BEFORE), lines - kept));
    this.shift(line * columns, Math.min(length, (line + kept) * columns));
  }

  /** Move to other rows, without moving those that are seen. */
  shift(first, last) {
    const { columns } = this;
    const line = Math.floor(first / columns);
    if (first !== this.first || last !== this.last) {
      const before = { first: this.first, last: this.last };
      this.pad(line, last); // first: a list that is too short for a moment would lose its place
      this.place(first, last);
      const guessed = this.offset(Math.floor(Math.min(last, before.first) / columns)) - this.offset(line);
      this.measure(first, last);
      // What came in above is as high as it is, not as it was thought to be.
      const grown = first < before.first && last > before.first
        ? this.offset(Math.floor(before.first / columns)) - this.offset(line) - guessed : 0;
      this.pad(line, last);
      if (Math.abs(grown) >= 1) scrollBy({ top: grown });
    } else this.pad(line, last);
  }

  pad(line, last) {
    const lines = Math.ceil(this.rows.length / this.columns);
    const below = Math.ceil(last / this.columns);
    const { style } = this.list;
    style.paddingTop = `${this.offset(line)}px`;
    style.paddingBottom = below < lines ? `${this.offset(lines) - this.offset(below)}px` : "";
  }

  /** See how high the lines are whose first card came in. */
  measure(first, last) {
    for (let at = first; at < last; at += this.columns) {
      const line = at / this.columns;
      // The last line may yet get higher cards.
      if (this.heights[line] === undefined || last - at < this.columns) this.heights[line] = this.list.children[at - first].offsetHeight;
    }
  }

  /** Have exactly these rows' cards in the document. */
  place(first, last) {
    const { list, rows } = this;
    const had = list.contains(document.activeElement) && document.activeElement !== list;
    const came = [];
    const cards = (from, to) => rows.slice(from, to).map((row, at) => {
      const card = this.make(row);
      card.setAttribute("aria-posinset", from + at + 1);
      card.setAttribute("aria-setsize", this.total);
      came.push(card);
      return card;
    });
    if (first >= this.last || last <= this.first) {
      list.replaceChildren(...cards(first, last));
    } else {
      for (; this.first < first; this.first += 1) list.firstChild.remove();
      for (; this.last > last; this.last -= 1) list.lastChild.remove();
      if (first < this.first) list.prepend(...cards(first, this.first));
      if (last > this.last) list.append(...cards(this.last, last));
    }
    this.first = first;
    this.last = last;
    if (had && !list.contains(document.activeElement)) list.focus({ preventScroll: true });
    if (came.length) this.changed(came);
  }

  /** Say how many there are in all, as far as that is known. */
  sayTotal(total) {
    this.total = total;
    for (const card of this.list.children) card.setAttribute("aria-setsize", total);
  }
}
