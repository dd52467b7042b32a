// The page, put together: the state says what is seen, everything else follows it.

import { Client } from "./client.js";
import { Detail } from "./detail.js";
import { prepare } from "./dialogs.js";
import { byId, count, el, say, typing } from "./dom.js";
import { download } from "./download.js";
import { Drawing } from "./drawing.js";
import { Duplicates } from "./duplicates.js";
import { DatasetMap } from "./map.js";
import { Options } from "./options.js";
import { web } from "./pictures.js";
import { Removing } from "./removal.js";
import { Results } from "./results.js";
import { SearchBar } from "./search-bar.js";
import { Selecting } from "./selection.js";
import { ASKED, Store } from "./state.js";
import { welcome } from "./welcome.js";
import { Where } from "./where.js";

class Page {
  constructor() {
    this.store = new Store();
    this.datasets = [];
    this.config = {};
    this.client = new Client(this.store.state.back);
    this.results = new Results(this);
    this.map = new DatasetMap(this);
    this.options = new Options(this);
    this.where = new Where(this);
    this.bar = new SearchBar(this);
    this.detail = new Detail(this);
    this.drawer = new Duplicates(this);
    this.selecting = new Selecting(this);
    this.removing = new Removing(this);
    this.drawing = new Drawing(this);
    prepare(byId("help"));
    this.store.listen((state, changed) => this.follow(state, changed));
    this.clicks();
    addEventListener("keydown", (event) => this.pressed(event));
  }

  // -- what is served ------------------------------------------------------------------------

  /** The dataset that is looked at. */
  get dataset() {
    return this.datasets.find(({ name }) => name === this.store.state.index) ?? this.datasets[0];
  }

  get maxHits() {
    return this.config.maxHits ?? 10_000;
  }

  /** Whether duplicates were looked for. */
  get clusters() {
    return Boolean(this.dataset?.filters.duplicates);
  }

  /** A row's place in the addresses of /v1. */
  place(key) {
    return `${encodeURIComponent(this.dataset.name)}/${encodeURIComponent(key)}`;
  }

  /** Where to ask for a row's removal; "" where the server does not say. */
  contact(row) {
    const { contact } = this.config;
    if (!contact || web(contact)) return web(contact ?? "");
    const about = `Please remove ${row.key} of ${this.dataset.name}\n${row.url ?? ""}`;
    return `mailto:${encodeURI(contact)}?subject=${encodeURIComponent("Removal")}&body=${encodeURIComponent(about)}`;
  }

  /** Meet a back end, then look for what the state asks. */
  async start() {
    this.client = new Client(this.store.state.back);
    const { client } = this;
    try {
      const config = await client.get("config.json");
      this.config = config.frenchcat ?? {};
      byId("key-field").hidden = !this.config.asksForKey;
      this.datasets = await client.get("v1/datasets");
      if (client !== this.client) return;
    } catch (error) {
      if (client === this.client) this.refused(error);
      return;
    }
    await this.meet();
    this.follow(this.store.state, Object.keys(this.store.state));
  }

  refused(error) {
    this.datasets = [];
    this.results.clear();
    byId("results").replaceChildren();
    this.options.show(this.store.state);
    this.bar.show(this.store.state);
    this.failed(error);
    if (error.status !== 401) return;
    this.options.open(true, false);
    byId("key").focus();
  }

  /** Learn of the dataset that is looked at. */
  async meet() {
    const { name, rows, model } = this.dataset;
    byId("about").textContent = `${name}: ${count(rows)} rows, vectors of ${model}.`;
    const { contact } = this.config;
    if (contact) byId("about").append(" Removals: ", this.contactLink(contact));
    byId("select").hidden = !this.config.maySelect;
    await this.where.learn().catch((error) => this.failed(error));
  }

  contactLink(contact) {
    return el("a", { href: web(contact) || `mailto:${encodeURI(contact)}` }, contact);
  }

  /** A key was given. */
  enter(key) {
    this.client.key = key;
    this.start();
  }

  // -- following the state -------------------------------------------------------------------

  async follow(state, changed) {
    if (changed.includes("back") && !new Client(state.back).same(this.client)) {
      return this.start();
    }
    if (!this.datasets.length) return;
    if (changed.includes("index")) this.meet();
    this.options.show(state);
    this.where.show(state);
    this.bar.show(state);
    this.drawing.show(state);
    this.showView(state);
    welcome(this, state);
    document.title = state.query ? `${state.query} - frenchcat` : "frenchcat";
    if (changed.some((name) => ASKED.includes(name))) this.look(state);
    else if (changed.includes("hideUrls")) this.results.redo();
    if (changed.some((name) => ["captions", "fullCaptions", "similarities"].includes(name))) this.results.dress(state);
    this.detail.show(state);
  }

  async look(state) {
    const map = state.view === "map" ? this.map.show(state) : null;
    await this.results.run(state);
    await map;
    this.map.draw();
  }

  again() {
    this.map.path = null;
    this.look(this.store.state);
  }

  showView(state) {
    const map = state.view === "map";
    const opened = map && byId("map").hidden;
    byId("map").hidden = !map;
    byId("pictures").hidden = map;
    byId("view-map").setAttribute("aria-pressed", String(map));
    byId("view-pictures").setAttribute("aria-pressed", String(!map));
    if (opened) {
      this.map.resize();
      this.map.show(state);
    }
  }

  /** Show what went wrong; null: nothing. */
  failed(error) {
    const { where } = this.store.state;
    const conditional = error && where && error.status === 400;
    this.where.fail(conditional ? error.message : "");
    say(byId("problem"), error?.message);
    if (error && error.name !== "Error" && !("status" in error)) console.error(error);
  }

  // -- what can be done ----------------------------------------------------------------------

  /** Search by something else, from a result. */
  ask(changes) {
    this.store.set({ query: "", imageUrl: "", like: "", picture: "", row: "", view: "pictures", ...changes });
  }

  duplicates(row) {
    this.drawer.open(row);
  }

  remove(row) {
    this.removing.open(row);
  }

  clicks() {
    byId("view-pictures").addEventListener("click", () => this.store.set({ view: "pictures" }));
    byId("view-map").addEventListener("click", () => this.store.set({ view: "map" }));
    byId("open-help").addEventListener("click", () => byId("help").showModal());
    byId("select").addEventListener("click", () => this.selecting.open());
    byId("download").addEventListener("click", () => download(this).catch((error) => this.failed(error)));
  }

  /** A key pressed on a row; whether it means something. */
  shortcut(key, row) {
    if (key === "p") this.ask({ like: row.key });
    else if (key === "c" && row.caption) this.ask({ query: row.caption });
    else if (key === "d" && this.clusters) this.duplicates(row);
    else return false;
    return true;
  }

  pressed(event) {
    if (event.key === "Escape" && this.options.isOpen && matchMedia("(max-width: 899px)").matches) {
      this.options.open(false);
      return;
    }
    if (typing(event) || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (event.key === "/") {
      byId("query").focus();
      byId("query").select();
    } else if (event.key === "o") this.options.open(!this.options.isOpen);
    else if (event.key === "?") byId("help").showModal();
    else if (event.key === "m") this.store.set({ view: this.store.state.view === "map" ? "pictures" : "map" });
    else return;
    event.preventDefault();
  }
}

new Page().start();
