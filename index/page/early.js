// What a page needs first, asked for before its other scripts are there: what is served, and the
// rows of its address. Over a phone's network each wait is a sixth of a second.

import "./theme.js";
import { Client } from "./client.js";
import { enough, rows } from "./query.js";
import { askedOf, fromAddress } from "./state.js";
import { preload } from "./thumbnail.js";

/** Ask a back end for all of that together; without rows where a list is `returned` to. */
export function meet(state, returned = false) {
  const client = new Client(state.back);
  const k = enough();
  const config = client.get("config.json");
  const datasets = client.get("v1/datasets");
  const found = returned ? Promise.resolve(null) : rows(client, state, k, 0);
  for (const answer of [config, datasets, found]) answer.catch(() => {}); // said where it is awaited
  return { client, k, asked: askedOf(state), config, datasets, found };
}

const returned = Boolean(history.state?.place); // how many rows are asked for depends on the place
/** The back end and the rows of the address that the page was opened with. */
export const met = meet(fromAddress(), returned);
met.found.then((found) => found && preload(met.client, found.rows)).catch(() => {});
