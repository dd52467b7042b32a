// Rows as a file of the server's: CSV, NDJSON, Parquet.

/** Have the browser save what an export of /v1 writes. */
export async function saveExport(page, body) {
  const name = page.dataset.name;
  const blob = await page.client.file(`v1/datasets/${encodeURIComponent(name)}/export`, body);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${name}.${body.format}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
