// The page, put together: the state says what is seen, everything else follows it.

import { AsCode } from "./as-code.js";
import { Beside } from "./beside.js";
import { Client, Problem } from "./client.js";
import { Composer, sayWithin } from "./composer.js";
import { Detail } from "./detail.js";
import { confirmed, prepare } from "./dialogs.js";
import { button, byId, count, el, say, typing } from "./dom.js";
import { download } from "./download.js";
import { Drawing } from "./drawing.js";
import { Duplicates } from "./duplicates.js";
import { meet, met } from "./early.js";
import { Facets } from "./facets.js";
import { fold } from "./fold.js";
import { DatasetMap } from "./map.js";
import { Options } from "./options.js";
import { Picked } from "./picked.js";
import { web } from "./pictures.js";
import { Removing } from "./removal.js";
import { Results } from "./results.js";
import { SearchBar } from "./search-bar.js";
import { Searches } from "./searches.js";
import { Selecting } from "./selection.js";
import { Selections } from "./selections.js";
import { ASKED, Store, askedOf, placeOf } from "./state.js";
import { saidOf } from "./terms.js";
import { Used } from "./used.js";
import { welcome } from "./welcome.js";
import { Where } from "./where.js";
import { Work } from "./work.js";

const CONDITION = ["bad-condition", "unknown-column"]; // codes of problems

class Page {
  constructor() {
    this.store = new Store();
    this.datasets = [];
    this.config = {};
    this.client = new Client(this.store.state.back);
    this.picked = new Picked(this);
    this.results = new Results(this);
    this.map = new DatasetMap(this);
    this.options = new Options(this);
    this.where = new Where(this);
    this.facets = new Facets(this);
    this.bar = new SearchBar(this);
    this.composer = new Composer(this);
    this.beside = new Beside(this);
    this.searches = new Searches(this);
    this.detail = new Detail(this);
    this.drawer = new Duplicates(this);
    this.selecting = new Selecting(this);
    this.selections = new Selections(this);
    this.asCode = new AsCode(this);
    this.removing = new Removing(this);
    this.work = new Work(this);
    this.used = new Used(this);
    this.drawing = new Drawing(this);
    prepare(byId("help"));
    for (const one of document.querySelectorAll(".fold")) fold(one);
    this.confirming = prepare(byId("confirm"));
    this.store.place = () => (this.datasets.length && !this.results.first ? this.results.place : null);
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
    return placeOf(this.dataset.name, key);
  }

  /** Search by a row's picture: what changes in the state. */
  like({ key }) {
    return { like: key, likeOf: this.dataset.name };
  }

  /** Where to ask for a row's removal; "" where the server does not say. */
  contact(row) {
    const { contact } = this.config;
    if (!contact || web(contact)) return web(contact ?? "");
    const about = `Please remove ${row.key} of ${this.dataset.name}\n${row.url ?? ""}`;
    return `mailto:${encodeURI(contact)}?subject=${encodeURIComponent("Removal")}&body=${encodeURIComponent(about)}`;
  }

  /** Meet a back end, then look for what the state asks; `early` is what was asked for already. */
  async start(early = meet(this.store.state, Boolean(this.store.left))) {
    this.early = early;
    const client = (this.client = early.client);
    byId("status").textContent = "Loading…";
    try {
      const [config, datasets] = await Promise.all([early.config, early.datasets.catch((error) => error)]);
      if (client !== this.client) return;
      this.config = config.frenchcat ?? {};
      byId("key-field").hidden = !this.config.asksForKey;
      byId("key-note").textContent = client.foreign
        ? `It is sent to ${client.base.host}, which is not this page's site.`
        : "Kept until this tab is closed.";
      if (datasets instanceof Error) throw datasets;
      this.datasets = datasets;
    } catch (error) {
      if (client === this.client) this.refused(error);
      return;
    }
    this.follow(this.store.state, Object.keys(this.store.state)); // index, too: it meets the dataset
  }

  /** The answer to a search that was sent early, once; null where there is none that worked. */
  async answeredEarly(state, k) {
    const { early } = this;
    this.early = null;
    if (!early || early.client !== this.client || early.k !== k || early.asked !== askedOf(state)) return null;
    return early.found.catch(() => null);
  }

  refused(error) {
    this.datasets = [];
    this.results.empty();
    this.options.show(this.store.state);
    this.bar.show(this.store.state);
    byId("status").textContent = "";
    this.failed(error, () => this.start());
    if (error.status !== 401) return;
    this.options.open(true, false);
    byId("key").focus();
  }

  /** Learn of the dataset that is looked at. */
  async meet() {
    this.results.forget();
    const { name, rows, model } = this.dataset;
    byId("about").textContent = `${name}: ${count(rows)} rows, vectors of ${model}.`;
    const { contact } = this.config;
    if (contact) byId("about").append(" Removals: ", this.contactLink(contact));
    byId("select").hidden = !this.config.maySelect;
    byId("open-used").hidden = !this.config.mayAskUsed;
    this.learnt = this.where.learn().catch((error) => this.failed(error));
    await this.learnt;
    this.options.order(this.store.state);
  }

  contactLink(contact) {
    return el("a", { href: web(contact) || `mailto:${encodeURI(contact)}` }, contact);
  }

  /** A key was given. One for another site, which a link may have named, is sent if that is meant. */
  async enter(key) {
    const { client } = this;
    if (client.foreign && key) {
      const sent = await confirmed(this.confirming, {
        title: `Send this key to ${client.base.host}?`,
        text: `The page's address says to search at ${client.base.origin}, which is another site than this page's. Whoever runs it can use the key.`,
        yes: "Send it",
      });
      if (!sent) return (byId("key").value = "");
    }
    client.key = key;
    byId("key").value = "";
    this.start();
  }

  // -- following the state -------------------------------------------------------------------

  async follow(state, changed) {
    if (changed.includes("back") && !new Client(state.back).same(this.client)) {
      return this.start();
    }
    if (!this.datasets.length) return;
    const place = this.store.left; // once: what is asked next begins at its top
    this.store.left = null;
    if (changed.includes("index")) {
      this.picked.clear(); // rows of another dataset
      this.meet();
    }
    this.options.show(state);
    this.where.show(state);
    this.bar.show(state);
    this.composer.show(state);
    sayWithin(this, state);
    this.beside.show(state);
    this.drawing.show(state);
    this.facets.show(state);
    this.showView(state);
    if (changed.some((name) => ASKED.includes(name))) say(byId("decided"), "");
    welcome(this, state);
    const said = saidOf(state);
    document.title = said ? `${said.slice(0, 100)} - frenchcat` : "frenchcat";
    if (this.unknown(state)) this.sayUnknown(state);
    else if (changed.some((name) => ASKED.includes(name))) this.look(state, place);
    else if (changed.includes("hideUrls")) this.results.redo();
    if (changed.some((name) => ["captions", "fullCaptions", "similarities"].includes(name))) {
      this.results.dress(state);
      this.beside.dress(state);
    }
    this.work.show(state);
    this.detail.show(state);
  }

  /** Whether the address names a dataset that is not served here. */
  unknown(state) {
    return state.index !== "" && !this.datasets.some(({ name }) => name === state.index);
  }

  sayUnknown(state) {
    this.results.empty();
    this.failed(new Problem(404, `There is no dataset “${state.index}” here; there are: `));
    const choices = this.datasets.map(({ name }) => button(name, () => this.store.set({ index: name }), { class: "chip" }));
    byId("problem").append(...choices);
  }

  async look(state, place = null) {
    const map = state.view === "map" ? this.map.show(state) : null;
    await this.results.run(state, place);
    await map;
    this.map.draw();
  }

  /** Look again for what is looked for. */
  again() {
    this.map.path = null;
    this.results.forget();
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

  /** Show what went wrong, once; null: nothing. `again` is what may be tried again later. */
  failed(error, again = error && error === this.error ? this.retry : null) {
    this.error = error;
    this.retry = again;
    const conditional = CONDITION.includes(error?.code) && this.store.state.where && this.options.isOpen;
    this.where.fail(conditional ? error.message : "");
    const place = byId("problem");
    say(place, conditional ? "" : error?.message);
    if (again && error?.passes && !conditional) place.append(" ", button("Retry", again, { class: "retry" }));
    if (error && error.name !== "Error" && !("status" in error)) console.error(error);
  }

  // -- what can be done ----------------------------------------------------------------------

  /** Search by something else, from a result. */
  ask(changes) {
    this.store.set({ query: "", imageUrl: "", like: "", likeOf: "", picture: "", terms: "", row: "", view: "pictures", ...changes });
  }

  duplicates(row) {
    this.drawer.open(row);
  }

  remove(row) {
    this.removing.open(row);
  }

  /** Keep or drop rows by hand. */
  async decide(keep, keys) {
    const done = await this.work.decide(keep, keys);
    if (!done) return;
    this.picked.clear();
    const { row } = this.store.state;
    if (keys.includes(row)) this.detail.renew(row);
  }

  clicks() {
    document.querySelector(".skip").addEventListener("click", (event) => {
      event.preventDefault(); // an address with #results would be another place of the history
      (this.results.keys.current?.querySelector(".open") ?? byId("results")).focus();
    });
    byId("view-pictures").addEventListener("click", () => this.store.set({ view: "pictures" }));
    byId("view-map").addEventListener("click", () => this.store.set({ view: "map" }));
    byId("open-help").addEventListener("click", () => byId("help").showModal());
    byId("select").addEventListener("click", () => this.selecting.open());
    byId("download").addEventListener("click", () => download(this).catch((error) => this.failed(error)));
  }

  /** A key pressed on a row; whether it means something. */
  shortcut(key, row) {
    if (key === "p") this.ask(this.like(row));
    else if (key === "c" && row.caption) this.ask({ query: row.caption });
    else if (key === "d" && row.copies) this.duplicates(row);
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

new Page().start(met);
