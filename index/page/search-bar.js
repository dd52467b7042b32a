// The search bar: words, and a picture that is chosen, dropped, pasted or named by its address.

import { site } from "./credit.js";
import { button, byId, el, say, typing } from "./dom.js";
import { show, web } from "./pictures.js";
import { placeOf } from "./state.js";
import { parseTerms } from "./terms.js";
import { encoded } from "./upload.js";

const PICTURES = 3; // of those that are asked by their sum: more would leave no room to type
const UPLOADED = "Your picture is not in this page's address: a link to this view does not contain it.";
const LINKED = "This link was made from a search by an uploaded picture, which it does not contain. Upload the picture again to see those results.";

export class SearchBar {
  constructor(page) {
    this.page = page;
    this.field = byId("query");
    byId("search").addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    byId("upload").addEventListener("change", (event) => {
      this.upload(event.target.files[0]);
      event.target.value = "";
    });
    this.field.addEventListener("keydown", (event) => {
      if (event.key !== "ArrowDown" || !page.results.keys.current) return;
      event.preventDefault();
      page.results.keys.enter();
    });
    addEventListener("paste", (event) => this.given(event, event.clipboardData, typing(event)));
    this.droppable();
  }

  submit() {
    const text = this.field.value.trim();
    if (web(text)) this.page.store.set({ query: "", imageUrl: text, like: "", picture: "", row: "" });
    else this.page.store.set({ query: text, row: "" });
    // Touch keyboards cover half of the results; else the focus stays where it was.
    if (matchMedia("(pointer: coarse)").matches) this.field.blur();
  }

  async upload(file) {
    if (!file) return;
    const picture = await encoded(file);
    this.page.store.set({ picture, query: "", imageUrl: "", like: "", terms: "", row: "", view: "pictures" });
  }

  /** A picture, or an address of one, that was pasted or dropped. */
  given(event, data, textIsTyped = false) {
    const file = [...(data?.files ?? [])][0];
    const address = data?.getData("text/uri-list") || data?.getData("text/plain") || "";
    if (file) this.upload(file);
    else if (!textIsTyped && web(address)) {
      this.page.store.set({ query: "", imageUrl: web(address), like: "", picture: "", terms: "", row: "" });
    } else return;
    event.preventDefault();
  }

  droppable() {
    const veil = byId("drop");
    let depth = 0;
    const over = (change) => {
      depth = Math.max(0, depth + change);
      veil.hidden = depth === 0;
    };
    addEventListener("dragenter", () => over(1));
    addEventListener("dragleave", () => over(-1));
    addEventListener("dragover", (event) => event.preventDefault());
    addEventListener("drop", (event) => {
      depth = 0;
      over(0);
      event.preventDefault();
      this.given(event, event.dataTransfer);
    });
  }

  /** Show what a state asks for. */
  show(state) {
    if (document.activeElement !== this.field || state.query) this.field.value = state.query;
    const asked = byId("asked");
    const shown = this.picture(state, parseTerms(state.terms).some(({ p }) => p));
    asked.hidden = !shown;
    asked.replaceChildren(...(shown ? [shown, this.drop()] : []));
    this.field.placeholder = shown ? "and words" : "french cat";
    say(byId("unlinked"), state.picture ? UPLOADED : state.uploaded ? LINKED : "");
  }

  /** The picture that is asked; `weighed`: the uploaded one is a chip. */
  picture(state, weighed) {
    if (state.picture && !weighed) return el("img", { alt: "your picture", src: `data:image/jpeg;base64,${state.picture}` });
    if (state.imageUrl) return el("span", { title: state.imageUrl }, `picture at ${site(state.imageUrl) || "?"}`);
    if (!state.like) return null;
    const dataset = state.likeOf || (this.page.dataset?.name ?? "");
    const keys = state.like.split(",");
    const more = keys.length - PICTURES;
    return el("span", {}, ...keys.slice(0, PICTURES).map((key) => {
      const image = el("img", { alt: `the picture ${key} of ${dataset}` });
      show(image, this.page.client, { thumbnail: `v1/thumbnails/${placeOf(dataset, key)}` }, { size: 96 });
      return image;
    }), more > 0 ? el("span", { title: `${more} more: ${keys.slice(PICTURES).join(", ")}` }, `+${more}`) : null);
  }

  drop() {
    return button("×", () => this.page.store.set({ picture: "", imageUrl: "", like: "" }), {
      "aria-label": "Search without the picture",
    });
  }
}
