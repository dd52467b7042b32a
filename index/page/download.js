// The result list as a file: what is asked for, further than it was scrolled.

import { saveFile } from "./dom.js";
import { rows } from "./query.js";

const MOST = 3000; // as many as LAION's page asks for

/** Fetch up to 3,000 rows of a state and have the browser save them as JSON. */
export async function download(page) {
  const { state } = page.store;
  const k = Math.min(MOST, page.maxHits);
  const found = await rows(page.client, state, k, 0);
  const text = JSON.stringify(found.rows.map(listed), null, 1);
  const name = `${found.dataset}-${(state.query || "rows").replace(/[^\p{L}\p{N}]+/gu, "-")}.json`;
  saveFile(new Blob([text], { type: "application/json" }), name);
}

function listed({ picture, thumbnail, stored, ...row }) {
  return row;
}
