// What is looked at, for a program: as an address, as curl, as Python, as a file.

import { open, prepare } from "./dialogs.js";
import { button, byId, el } from "./dom.js";
import { saveExport } from "./export.js";
import { FORMATS } from "./formats.js";
import { PAGE, asks, filters, looked, search } from "./query.js";

const MOST = 10_000;

/** A text as a shell has it. */
const shell = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

/** A value as Python has it. */
export const python = (value) =>
  JSON.stringify(value).replace(/"(?:[^"\\]|\\.)*"|\btrue\b|\bfalse\b|\bnull\b/g, (part) =>
    ({ true: "True", false: "False", null: "None" })[part] ?? part);

export class AsCode {
  constructor(page) {
    this.page = page;
    this.dialog = prepare(byId("as-code"));
    byId("open-code").addEventListener("click", () => this.open());
  }

  /** The route and the body of what is looked at; an uploaded picture is left out. */
  request(state) {
    const route = asks(state) ? "search" : "rows";
    const { dataset, ...body } = asks(state) ? search(state, PAGE) : { ...filters(state), k: PAGE, ...(state.sort && { sort: state.sort }) };
    if (body.picture) body.picture = "BASE64"; // too long to be read
    for (const term of body.terms ?? []) if (term.picture) term.picture = "BASE64";
    return { path: `v1/datasets/${encodeURIComponent(this.page.dataset.name)}/${route}`, body };
  }

  open() {
    const { client, config, store } = this.page;
    const { state } = store;
    const { path, body } = this.request(state);
    const address = client.address(path);
    const key = config.asksForKey ? " -H 'X-API-Key: KEY'" : "";
    const headers = config.asksForKey ? ', headers={"X-API-Key": "KEY"}' : "";
    const curl = `curl ${address}${key} --json ${shell(JSON.stringify(body))}`;
    const code = `import httpx\n\nanswer = httpx.post("${address}", json=${python(body)}${headers})\nfor row in answer.json()["${asks(state) ? "hits" : "rows"}"]:\n    print(row["key"], row["caption"])`;
    const error = el("p", { class: "error", role: "alert", hidden: true });
    const file = ([format, name]) => button(name, () => {
      const { k, skip, sort, hybrid, aesthetic_score, aesthetic_weight, ...rest } = body;
      const nearest = asks(state) ? { ...looked(state), k: Math.min(MOST, this.page.maxHits) } : {};
      saveExport(this.page, { ...rest, ...nearest, format }).catch(({ message }) => {
        error.hidden = false;
        error.textContent = message;
      });
    });
    open(this.dialog,
      el("header", {}, el("h2", { id: "as-code-title" }, "This view for a program"),
        button("Close", () => this.dialog.close(), { class: "close", autofocus: true })),
      el("h3", {}, "Address of the page"), this.block(location.href),
      el("h3", {}, "curl"), this.block(curl),
      el("h3", {}, "Python"), this.block(code),
      el("h3", {}, asks(state) ? `The nearest ${Math.min(MOST, this.page.maxHits).toLocaleString("en")} rows as a file` : "All of these rows as a file"),
      error, el("div", { class: "buttons" }, ...Object.entries(FORMATS).map(file)));
  }

  block(text) {
    const copied = el("span", { role: "status" });
    const copy = () => navigator.clipboard.writeText(text).then(() => (copied.textContent = " copied"), () => {});
    return el("div", { class: "block" }, el("pre", { tabindex: 0 }, text), button("Copy", copy), copied);
  }
}
