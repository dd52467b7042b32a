// "Draw this query": pictures that a trained model makes of it. They are drawn, not found, and are
// shown so: apart from the results, each with what made it and the training pictures nearest to it.

import { credit } from "./credit.js";
import { open, prepare } from "./dialogs.js";
import { button, byId, el, say, some } from "./dom.js";
import { show } from "./pictures.js";
import { named } from "./selection.js";

const NUMBER = 2;
const GUIDANCE = 5;
const STEPS = 20;
const COARSE = 96; // pictures up to so many pixels keep their squares when they are enlarged

export class Drawing {
  constructor(page) {
    this.page = page;
    this.dialog = prepare(byId("drawing"), () => this.stop());
    byId("draw").addEventListener("click", () => this.open());
  }

  /** Offer it where the server has a model, and there are words to draw. */
  show(state) {
    byId("draw").hidden = !this.page.config.draw || !state.query.trim();
  }

  open() {
    const { pictures, steps } = this.page.config.draw;
    this.steps = Math.min(STEPS, steps);
    this.seed = 0;
    this.prompt = el("input", { id: "draw-prompt", required: true, maxlength: 500, value: this.page.store.state.query.trim() });
    this.number = el("input", { id: "draw-number", type: "number", min: 1, max: pictures, value: Math.min(NUMBER, pictures) });
    this.guidance = el("input", { id: "draw-guidance", type: "number", min: 0, max: 30, step: 0.5, value: GUIDANCE });
    this.again = el("button", { class: "primary", id: "draw-again" }, "Draw others");
    this.status = el("p", { class: "dim", role: "status" });
    this.error = el("p", { class: "error", role: "alert", hidden: true });
    this.list = el("ul", { class: "drawn" });
    this.about = el("p", { class: "dim" });
    const form = el("form", { class: "draw-form" },
      el("label", { class: "field" }, "What to draw", this.prompt),
      el("label", { class: "field" }, "Pictures", this.number),
      el("label", { class: "field" }, "Guidance", this.guidance), this.again);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.send();
    });
    open(this.dialog,
      el("header", {}, el("h2", { id: "drawing-title" }, "Drawn by a model"),
        button("Close", () => this.dialog.close(), { class: "close", autofocus: true })),
      el("p", { class: "dim" }, "These pictures are in no dataset: a model that was trained on some made them, just now."),
      form, this.error, this.status, this.list, this.about);
    this.send();
  }

  stop() {
    this.running?.abort();
    this.running = null;
  }

  async send() {
    this.stop();
    const running = (this.running = new AbortController());
    const { state } = this.page.store;
    const number = Number(this.number.value);
    const body = {
      prompt: this.prompt.value.trim(), number, guidance: Number(this.guidance.value),
      steps: this.steps, seed: this.seed, safe: state.safe, violence: !state.violence,
    };
    this.again.disabled = true;
    say(this.error, "");
    this.status.textContent = "Drawing… the server makes one drawing at a time; this can take a minute.";
    try {
      const made = await this.page.client.post("v1/draw", body, running.signal);
      if (running !== this.running) return;
      this.seed += number;
      this.made(made, body.prompt);
    } catch (error) {
      if (error.name === "AbortError" || running !== this.running) return;
      this.status.textContent = "";
      say(this.error, error.message);
    }
    this.running = null;
    this.again.disabled = false;
  }

  made(made, prompt) {
    this.list.replaceChildren(...made.pictures.map((one) => this.picture(one, prompt, made)));
    const seconds = `${(made.took_ms / 1000).toFixed(1)} s`;
    const withheld = made.withheld ? `, ${some(made.withheld, "picture was", "pictures were")} withheld as unsafe or violent` : "";
    this.status.textContent = `${some(made.pictures.length, "picture")} drawn in ${seconds}${withheld}`;
    this.about.textContent = made.compared
      ? `Of ${some(made.compared, "training picture")}: ${made.about}.`
      : "No training pictures could be compared.";
  }

  picture({ png, made, nearest }, prompt, { dataset }) {
    const address = `data:image/png;base64,${png}`;
    const image = el("img", { alt: `drawn by a model: ${prompt}`, src: address });
    image.addEventListener("load", () => image.classList.toggle("coarse", image.naturalWidth <= COARSE), { once: true });
    const facts = [`model ${made.model}`, `step ${made.step}`, `seed ${made.seed}`].join(" · ");
    return el("li", {},
      el("figure", {}, el("div", { class: "frame" }, image, el("span", { class: "badge" }, "drawn by a model")),
        el("figcaption", { class: "dim" }, facts),
        el("a", { class: "button", download: `${named(prompt)}-${made.seed}.png`, href: address }, "Save signed PNG")),
      nearest.length ? this.receipt(nearest, dataset) : null);
  }

  receipt(nearest, dataset) {
    return el("div", { class: "receipt" }, el("h3", {}, "Nearest training pictures"),
      el("ul", { class: "near" }, ...nearest.map((one) => this.near(one, dataset))));
  }

  near(one, dataset) {
    const similar = el("small", {}, one.similarity.toFixed(3));
    const item = el("li", { "data-key": one.key });
    if (!one.thumbnail) item.append(el("span", { class: "frame dim" }, "not shown here"), similar);
    else {
      const image = el("img", { alt: one.caption || "a picture without a caption" });
      show(image, this.page.client, one, { size: 160 });
      const opens = button("", () => this.look(one.key, dataset), { class: "frame", "aria-label": `Open ${one.caption || one.key}` });
      opens.append(image);
      item.append(opens, similar, credit({ ...one, license: one.licence }));
    }
    return item;
  }

  look(key, dataset) {
    this.dialog.close();
    const other = dataset === this.page.dataset.name ? {} : { index: dataset };
    this.page.store.set({ row: key, ...other });
  }
}
