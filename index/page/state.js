// What is asked and how it is shown: in the address bar, so that a link, back and forward bring it
// back. Only what differs from the defaults stands there. An uploaded picture is too long for an
// address; it lies in the history's entry. So does the place of a list that was left: how many rows
// were there, how far it was scrolled, and which one had the focus.

export const DEFAULTS = Object.freeze({
  query: "",
  index: "", // the first one served
  back: "", // this server
  imageUrl: "",
  like: "", // the key of a row; of several, with commas
  likeOf: "", // its dataset; "" is the one that is searched, as in older links
  picture: "", // base64 of an uploaded one
  uploaded: false, // whether one was asked for: an address says so, but does not contain it
  terms: "", // further parts of the query, weighted; see terms.js
  beside: "", // the words of another query, whose results stand beside
  selections: "", // frozen ones that rows are in, with commas
  outside: "", // and those that rows are not in
  where: "",
  by: "image",
  hybrid: false, // words in captions, too
  sort: "", // a column; with - before it: greatest first
  captions: true,
  fullCaptions: false,
  similarities: false,
  safe: true,
  violence: true, // removed
  hideUrls: true,
  hideImages: true,
  hideDropped: true,
  aesthetic: false,
  score: 9,
  weight: 0.5,
  useMclip: false,
  view: "pictures",
  row: "", // whose details are open
  work: "", // the work-list that is open
});

/** What changes which rows are found. */
export const ASKED = [
  "query", "index", "back", "imageUrl", "like", "likeOf", "picture", "terms", "selections", "outside", "where", "by", "hybrid", "sort", "safe", "violence",
  "hideImages", "hideDropped", "aesthetic", "score", "weight",
];

const UNLISTED = ["picture"];

/** An address's parameters as a state. */
export function parse(search) {
  const given = new URLSearchParams(search);
  const state = { ...DEFAULTS };
  for (const [name, standard] of Object.entries(DEFAULTS)) {
    if (!given.has(name) || UNLISTED.includes(name)) continue;
    const value = given.get(name);
    if (typeof standard === "boolean") state[name] = value === "1" || value === "true";
    else if (typeof standard === "number") state[name] = Number.isFinite(+value) ? +value : standard;
    else state[name] = value;
  }
  if (!["image", "text"].includes(state.by)) state.by = "image";
  if (!["pictures", "map"].includes(state.view)) state.view = "pictures";
  return state;
}

/** What the address bar and the entry of the history say. */
export const fromAddress = () => ({ ...parse(location.search), picture: history.state?.picture ?? "" });

/** A state as an address's parameters. */
export function format(state) {
  const given = new URLSearchParams();
  for (const [name, standard] of Object.entries(DEFAULTS)) {
    if (UNLISTED.includes(name) || state[name] === standard) continue;
    given.set(name, typeof standard === "boolean" ? (state[name] ? "1" : "0") : state[name]);
  }
  const text = given.toString();
  return text ? `?${text}` : location.pathname;
}

/** A row's place in the addresses of /v1. */
export const placeOf = (dataset, key) => `${encodeURIComponent(dataset)}/${encodeURIComponent(key)}`;

/** What changes which rows are found, as one text. */
export const askedOf = (state) => JSON.stringify(ASKED.map((name) => state[name]));

/** The state, who listens to it, and the browser's history of it. */
export class Store {
  constructor() {
    history.scrollRestoration = "manual";
    this.state = fromAddress();
    this.place = () => null; // of the list that is seen
    this.left = history.state?.place ?? null; // the place to return to, once
    this.listeners = [];
    addEventListener("popstate", (event) => this.popped(event.state));
    addEventListener("pagehide", () => this.keep());
  }

  popped(entry) {
    const next = parse(location.search);
    // An entry that is none of ours: a link to a place within the page. It is what was asked before.
    const ours = entry !== null || format(next) !== format(this.state);
    if (!ours) return history.replaceState({ picture: this.state.picture }, "");
    this.left = entry?.place ?? null;
    this.become({ ...next, picture: entry?.picture ?? "" });
  }

  /** Write down the place in the list that is seen, for when it is returned to. */
  keep() {
    history.replaceState({ ...history.state, picture: this.state.picture, place: this.place() }, "");
  }

  /** Change something: a new entry of the history, unless `replace`. */
  set(changes, { replace = false } = {}) {
    const next = { ...this.state, ...changes };
    if (!next.like) next.likeOf = "";
    if (askedOf(next) !== askedOf(this.state)) next.uploaded = Boolean(next.picture);
    if (Object.keys(next).every((name) => next[name] === this.state[name])) return;
    const something = (state) => Boolean(state.row || state.work);
    const opened = something(next) && (replace ? Boolean(history.state?.opened) : !something(this.state));
    if (!replace) this.keep();
    const entry = { picture: next.picture, opened };
    history[replace ? "replaceState" : "pushState"](entry, "", format(next));
    this.become(next);
  }

  /** Leave what was opened from a list: one step back, so that Back does not open it again. */
  close() {
    if (history.state?.opened) history.back();
    else this.set({ row: "", work: "" }, { replace: true });
  }

  become(next) {
    const changed = Object.keys(next).filter((name) => next[name] !== this.state[name]);
    this.state = next;
    for (const listen of this.listeners) listen(next, changed);
  }

  listen(listener) {
    this.listeners.push(listener);
  }
}
