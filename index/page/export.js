// Rows as a file of the server's: CSV, NDJSON, Parquet.

import { saveFile } from "./dom.js";

/** Have the browser save what an export of /v1 writes. */
export async function saveExport(page, body) {
  const name = page.dataset.name;
  const blob = await page.client.file(`v1/datasets/${encodeURIComponent(name)}/export`, body);
  saveFile(blob, `${name}.${body.format}`);
}
