// The weighted parts of a query: words, pictures of rows, pictures at addresses, the uploaded one.
// In the address as a JSON list of {t: words | l: key, d: dataset | u: address | p: 1, w: weight}.

const MOST = 16; // of a query, as the server has it

/** The parts that a state's text names; [] for a text that is none. */
export function parseTerms(text) {
  try {
    const found = JSON.parse(text || "[]");
    return found.filter(({ t, l, u, p }) => t || l || u || p).map((term) => ({ ...term, w: Number.isFinite(term.w) ? term.w : 1 }));
  } catch {
    return [];
  }
}

/** Parts as a state's text. */
export const formatTerms = (terms) => (terms.length ? JSON.stringify(terms) : "");

/** A state's parts, those that are not weighted yet with a weight of one; the uploaded picture once. */
export function termsOf(state) {
  const weighted = parseTerms(state.terms);
  const found = [];
  if (state.query.trim()) found.push({ t: state.query.trim(), w: 1 });
  if (state.picture && !weighted.some(({ p }) => p)) found.push({ p: 1, w: 1 });
  if (state.imageUrl) found.push({ u: state.imageUrl, w: 1 });
  for (const l of state.like.split(",").filter(Boolean)) found.push({ l, ...(state.likeOf && { d: state.likeOf }), w: 1 });
  return [...found, ...weighted.filter(({ p }) => !p || state.picture)].slice(0, MOST);
}

/** A state in which every part of the query is weighted, the last one last; what is typed next is another. */
export function weighed(state) {
  const before = parseTerms(state.terms);
  const added = termsOf(state).slice(0, Math.max(0, termsOf(state).length - before.length));
  return { query: "", imageUrl: "", like: "", likeOf: "", terms: formatTerms([...before, ...added]) };
}

/** A part as the server takes it. */
export function asTerm({ t, l, d, u, p, w }, state) {
  const part = t ? { text: t } : l ? { like: d ? { dataset: d, key: l } : l } : u ? { picture_url: u } : p ? { picture: state.picture } : {};
  return w === 1 ? part : { ...part, weight: w };
}

/** A part in words. */
export const said = ({ t, l, u }) => t ?? (l ? `picture ${l}` : u ? `picture at ${u}` : "your picture");

/** A query in words. */
export function saidOf(state) {
  const parts = termsOf(state).map((term) => {
    const weight = Math.abs(term.w) === 1 ? "" : `${Math.abs(term.w)} × `;
    return { minus: term.w < 0, text: weight + said(term) };
  });
  return parts.map(({ minus, text }, at) => (at ? (minus ? ` − ${text}` : ` + ${text}`) : (minus ? `− ${text}` : text))).join("");
}
