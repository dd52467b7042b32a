// The menu "Download…", the same wherever rows are written out.

import { el } from "./dom.js";

/** What an export of rows can be; of a selection a tar, too. */
export const FORMATS = { csv: "CSV", json: "JSON", ndjson: "NDJSON", parquet: "Parquet", arrow: "Arrow" };
export const WITH_PICTURES = { ...FORMATS, tar: "Tar with the pictures" };

/** A menu of formats; `download` is called with the one that is chosen. */
export function formatMenu(label, formats, download) {
  const menu = el("select", { "aria-label": label, "data-focus": label }, el("option", { value: "" }, "Download…"),
    ...Object.entries(formats).map(([value, name]) => el("option", { value }, name)));
  menu.addEventListener("change", () => {
    const { value } = menu;
    menu.value = "";
    if (value) download(value);
  });
  return menu;
}
