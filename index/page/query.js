// A state as the body of a search.

import { asTerm, parseTerms, termsOf } from "./terms.js";

export const PAGE = 40; // rows a page, as LAION's has it
const CARD_MIN_PX = 200; // a card's width and the gap beside it, at least; cards are higher than wide
const MOST_AT_ONCE = 400;

/** How many rows fill the window, which a large one needs more of than a page has. */
export function enough() {
  const fits = Math.ceil(innerWidth / CARD_MIN_PX) * Math.ceil(innerHeight / CARD_MIN_PX);
  return Math.min(MOST_AT_ONCE, Math.max(PAGE, fits));
}

/** Whether something is looked for; else rows are browsed. */
export const asks = (state) =>
  Boolean(state.query.trim() || state.picture || state.imageUrl || state.like || parseTerms(state.terms).length);

/** Which rows may be found. */
export function filters(state) {
  return {
    ...(state.index && { dataset: state.index }),
    ...(state.where.trim() && { where: state.where.trim() }),
    safe: state.safe,
    violence: !state.violence,
    duplicates: !state.hideImages,
    dropped: !state.hideDropped,
    ...(state.selections && { selections: state.selections.split(",") }),
    ...(state.outside && { outside: state.outside.split(",") }),
  };
}

/** A text as a condition has it. */
export const literal = (text) => `'${text.replaceAll("'", "''")}'`;

/** A condition that rows of these keys meet. */
export const keyIn = (keys) => `key IN (${keys.map(literal).join(", ")})`;

/** In which order rows are given. */
const sorting = (state) => (state.sort ? { sort: state.sort } : {});

/** What is looked for: one thing, or a weighted sum of several. */
export function looked(state) {
  const terms = termsOf(state).map((term) => asTerm(term, state));
  return terms.length === 1 && terms[0].weight === undefined ? terms[0] : { terms };
}

/** Whether words are among what is looked for, and not subtracted. */
export const worded = (state) => termsOf(state).some(({ t, w }) => t && w > 0);

/** The body of /v1/search. */
export function search(state, k, skip = 0) {
  const rated = state.aesthetic && { aesthetic_score: state.score, aesthetic_weight: state.weight };
  return { ...filters(state), ...looked(state), by: state.by, k, skip, ...rated, ...sorting(state), ...(state.hybrid && worded(state) && { hybrid: true }) };
}

/** Rows of a state: hits of its query, or, without one, what meets its filters. */
export async function rows(client, state, k, skip, signal) {
  if (!asks(state)) {
    const found = await client.post("v1/browse", { ...filters(state), ...sorting(state), k, skip }, signal);
    return { rows: found.rows, total: found.total, hidden: {}, dataset: found.dataset };
  }
  const body = { ...search(state, k, skip), count_hidden: skip === 0 };
  const found = await client.post("v1/search", body, signal);
  const { hits, hidden, dataset, took_ms: took } = found;
  return { rows: hits, hidden, dataset, took: took.encode + took.search };
}
