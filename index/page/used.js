// "Has it been used?": in which rows, selections, training steps and checkpoints an image is.

import { open, prepare } from "./dialogs.js";
import { byId, button, count, el, say, some } from "./dom.js";
import { encoded } from "./upload.js";

const LISTED = 12;
const STEPS = 12;
const WAYS = [["url", "Address of the image"], ["domain", "Domain"], ["sha256", "SHA-256 of the file"],
  ["creator", "Creator"], ["picture", "The picture itself"]];

export class Used {
  constructor(page) {
    this.page = page;
    this.dialog = prepare(byId("used"), () => this.asking?.abort());
    byId("open-used").addEventListener("click", () => this.open());
  }

  open() {
    this.by = el("select", { id: "used-by" }, ...WAYS.map(([by, words]) => el("option", { value: by }, words)));
    this.value = el("input", { id: "used-value", maxlength: 4096, autocomplete: "off", spellcheck: "false" });
    this.file = el("input", { id: "used-file", type: "file", accept: "image/*" });
    this.near = el("input", { id: "used-near", type: "checkbox" });
    this.answer = el("div", { id: "used-answer", class: "found", "aria-live": "polite" });
    this.error = el("p", { class: "error", role: "alert", hidden: true });
    const text = el("label", { class: "field" }, "Which", this.value);
    const file = el("label", { class: "field", hidden: true }, "File", this.file);
    this.by.addEventListener("change", () => {
      file.hidden = this.by.value !== "picture";
      text.hidden = !file.hidden;
    });
    const form = el("form", {},
      el("label", { class: "field" }, "Look for", this.by), text, file,
      el("label", { class: "check" }, this.near, " near copies, too"),
      el("div", { class: "buttons" },
        button("Close", () => this.dialog.close()), el("button", { type: "submit", class: "primary", id: "used-ask" }, "Look")));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.look();
    });
    open(this.dialog, el("h2", { id: "used-title" }, "Has it been used?"),
      el("p", { class: "dim" }, "In which rows, selections, training steps and checkpoints an image is."),
      form, this.error, this.answer);
  }

  async look() {
    this.asking?.abort();
    const asking = (this.asking = new AbortController());
    const by = this.by.value;
    say(this.error, "");
    this.answer.replaceChildren(el("p", { class: "dim" }, "looking…"));
    try {
      const [file] = this.file.files;
      if (by === "picture" && !file) throw new Error("Choose a file.");
      const value = by === "picture" ? await encoded(file) : this.value.value.trim();
      const body = { dataset: this.page.dataset.name, by, value, near: this.near.checked, shown: LISTED };
      const answer = await this.page.client.post("v1/used", body, asking.signal);
      if (asking === this.asking) this.show(answer);
    } catch (error) {
      if (asking !== this.asking || error.name === "AbortError") return;
      this.answer.replaceChildren();
      say(this.error, error.message);
    }
  }

  show({ total, rows, selections, runs, cannot_forget }) {
    const list = (items) => el("ul", {}, ...items.map((item) => el("li", { dir: "auto" }, item)));
    const more = total - rows.length;
    this.answer.replaceChildren(...[
      el("p", {}, el("b", {}, total ? `Yes: ${some(total, "row")}.` : "No row matches.")),
      total && list(rows.map(({ key, caption, why }) => `${caption || key} (${why})`)),
      more > 0 && el("p", {}, `and ${count(more)} more`),
      ...this.part("Selections", Object.entries(selections).map(([name, n]) => `${name}: ${some(n, "row")}`), total),
      ...this.part("Training runs", runs.map(trained), total),
      ...this.part("Checkpoints that cannot forget", cannot_forget, total),
    ].filter(Boolean));
  }

  part(title, items, total) {
    if (!total) return [];
    return [el("h3", {}, title), items.length ? el("ul", {}, ...items.map((item) => el("li", {}, item))) : el("p", {}, "None.")];
  }
}

function trained({ run, steps }) {
  const drawn = Object.values(steps).flat().sort((a, b) => a - b);
  if (!drawn.length) return `${run}: not trained on`;
  const shown = [...new Set(drawn)].slice(0, STEPS).map(count).join(", ");
  return `${run}: drawn ${some(drawn.length, "time")}, at step ${shown}${new Set(drawn).size > STEPS ? ", …" : ""}`;
}
