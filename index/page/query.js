// A state as the body of a search.

export const PAGE = 40; // rows a page, as LAION's has it

/** Whether something is looked for; else rows are browsed. */
export const asks = (state) =>
  Boolean(state.query.trim() || state.picture || state.imageUrl || state.like);

/** Which rows may be found. */
export function filters(state) {
  return {
    ...(state.index && { dataset: state.index }),
    ...(state.where.trim() && { where: state.where.trim() }),
    safe: state.safe,
    violence: !state.violence,
    duplicates: !state.hideImages,
    dropped: !state.hideDropped,
  };
}

/** A text as a condition has it. */
export const literal = (text) => `'${text.replaceAll("'", "''")}'`;

/** A condition that rows of these keys meet. */
export const keyIn = (keys) => `key IN (${keys.map(literal).join(", ")})`;

/** In which order rows are given. */
const sorting = (state) => (state.sort ? { sort: state.sort } : {});

/** What is looked for: one thing, or the sum of a text and a picture. */
export function looked(state) {
  const terms = [];
  if (state.query.trim()) terms.push({ text: state.query.trim() });
  if (state.picture) terms.push({ picture: state.picture });
  if (state.imageUrl) terms.push({ picture_url: state.imageUrl });
  const { like, likeOf } = state;
  for (const key of like.split(",").filter(Boolean)) terms.push({ like: likeOf ? { dataset: likeOf, key } : key });
  return terms.length === 1 ? terms[0] : { terms };
}

/** The body of /v1/search. */
export function search(state, k, skip = 0) {
  const rated = state.aesthetic && { aesthetic_score: state.score, aesthetic_weight: state.weight };
  return { ...filters(state), ...looked(state), by: state.by, k, skip, ...rated, ...sorting(state), ...(state.hybrid && state.query.trim() && { hybrid: true }) };
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
