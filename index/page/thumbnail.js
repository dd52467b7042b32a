// Addresses of small pictures.

export const CARD_PX = 320; // of a card's picture, the longer side
const FIRST = 4; // cards at the top of a phone's window

/** The path of a row's small picture. */
export const thumbnail = (row, size) => `${row.thumbnail}?size=${size}`;

/** Fetch the first pictures before there are cards to show them. */
export function preload(client, rows) {
  if (client.foreign || client.key) return; // those are fetched in other ways
  for (const row of rows.slice(0, FIRST)) {
    if (row.stored !== false) new Image().src = client.address(thumbnail(row, CARD_PX));
  }
}
