// What is asked and how it is shown: in the address bar, so that a link, back and forward bring it
// back. Only what differs from the defaults stands there. An uploaded picture is too long for an
// address; it lies in the history's entry.

export const DEFAULTS = Object.freeze({
  query: "",
  index: "", // the first one served
  back: "", // this server
  imageUrl: "",
  like: "", // the key of a row
  picture: "", // base64 of an uploaded one
  where: "",
  by: "image",
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
});

/** What changes which rows are found. */
export const ASKED = [
  "query", "index", "back", "imageUrl", "like", "picture", "where", "by", "safe", "violence",
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

/** The state, who listens to it, and the browser's history of it. */
export class Store {
  constructor() {
    this.state = { ...parse(location.search), picture: history.state?.picture ?? "" };
    this.listeners = [];
    addEventListener("popstate", (event) => {
      this.become({ ...parse(location.search), picture: event.state?.picture ?? "" });
    });
  }

  /** Change something: a new entry of the history, unless `replace`. */
  set(changes, { replace = false } = {}) {
    const next = { ...this.state, ...changes };
    if (Object.keys(next).every((name) => next[name] === this.state[name])) return;
    const entry = { picture: next.picture };
    history[replace ? "replaceState" : "pushState"](entry, "", format(next));
    this.become(next);
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
