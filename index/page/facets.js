// How the rows are spread over columns: histograms and frequent values. Pressing one filters by it.

import { byId, button, count, el, later, some } from "./dom.js";
import { asks, filters, literal, looked } from "./query.js";
import { askedOf } from "./state.js";

const OF = 1000; // nearest rows of a query that are counted
const TOP = 8;
const BINS = 16;

/** A name as a condition has it. */
export const quoted = (name) => (/^[A-Za-z_]\w*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`);

/** Parts of a condition that are joined by AND. */
const joined = (parts) => parts.filter(Boolean).join(" AND ");

/** A condition with a part more, or without it where it has it. */
export function toggled(where, part) {
  const parts = where.trim() ? where.trim().split(" AND ") : [];
  const pieces = part.split(" AND ");
  if (pieces.every((piece) => parts.includes(piece))) return joined(parts.filter((one) => !pieces.includes(one)));
  // What is not a chain of AND stays together.
  const before = / OR /i.test(where) && !/^\(.*\)$/.test(where.trim()) ? `(${where.trim()})` : where.trim();
  return joined([before, part]);
}

export class Facets {
  constructor(page) {
    this.page = page;
    this.place = byId("facets");
    this.list = byId("facet-list");
    this.status = byId("facet-status");
    this.place.addEventListener("toggle", () => this.show(page.store.state));
    byId("facets-of").addEventListener("change", () => this.show(page.store.state, true));
    this.soon = later(200, (state) => this.look(state));
  }

  /** Count for a state, where that is seen. */
  show(state, anew = false) {
    byId("facets-of").disabled = !asks(state);
    if (!this.place.open || !this.page.dataset) return;
    const asked = `${this.page.dataset.name} ${askedOf(state)}`;
    if (asked === this.asked && !anew) return;
    this.asked = asked;
    this.soon(state);
  }

  body(state) {
    const nearest = asks(state) && byId("facets-of").value === "result";
    return { ...filters(state), ...(nearest && { ...looked(state), by: state.by, k: Math.min(OF, this.page.maxHits) }), top: TOP, bins: BINS };
  }

  async look(state) {
    this.asking?.abort();
    const asking = (this.asking = new AbortController());
    const path = `v1/datasets/${encodeURIComponent(this.page.dataset.name)}/facets`;
    this.status.textContent = "Counting…";
    try {
      const { client } = this.page;
      const { dataset, ...body } = this.body(state);
      // Why rows are dropped is told of those that are.
      const dropped = client.post(path, { ...body, dropped: true, facets: ["reason"] }, asking.signal).catch(() => null);
      const found = await client.post(path, body, asking.signal);
      const reason = (await dropped)?.facets.reason;
      if (reason?.rows) found.facets.reason = reason;
      this.take(found);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.asked = "";
      this.list.replaceChildren();
      this.status.textContent = error.message;
    }
  }

  take({ rows, facets }) {
    const there = Object.entries(facets).filter(([, facet]) => facet.rows > 0 && (facet.kind === "number" || facet.distinct > 0));
    this.status.textContent = `Of ${some(rows, "row")}`;
    this.list.replaceChildren(...there.map(([name, facet]) =>
      el("section", { class: "facet", "data-facet": name },
        el("h2", {}, name.replaceAll("_", " ")),
        facet.kind === "number" ? this.histogram(name, facet) : this.values(name, facet))));
  }

  histogram(name, { bins, min, max }) {
    const most = Math.max(...bins.map(({ rows }) => rows));
    const bars = bins.map(({ from, to, rows }, at) => {
      const last = at === bins.length - 1;
      // With all digits: rounded ones would leave out the row at the end.
      const part = `${quoted(name)} >= ${from} AND ${quoted(name)} ${last ? "<=" : "<"} ${to}`;
      const bar = this.pressable(part, `${name} from ${short(from)} to ${short(to)}: ${some(rows, "row")}`, { disabled: !rows });
      const inner = el("i");
      inner.style.height = `${Math.max(rows ? 4 : 0, Math.round((rows / most) * 100))}%`;
      bar.append(inner);
      return bar;
    });
    return el("div", {}, el("div", { class: "bars", role: "group", "aria-label": name }, ...bars),
      el("p", { class: "ends" }, el("span", {}, short(min)), el("span", {}, short(max))));
  }

  values(name, { values, others }) {
    const column = quoted(name);
    const most = Math.max(...values.map(({ rows }) => rows));
    const items = values.map(({ value, rows }) => {
      const part = `${column} = ${literal(value)}`;
      const changes = name === "reason" ? { hideDropped: false } : {};
      const one = this.pressable(part, `${name} ${value || "empty"}: ${some(rows, "row")}`, {}, changes);
      const bar = el("i");
      bar.style.width = `${Math.round((rows / most) * 100)}%`;
      one.append(el("span", { class: "value", dir: "auto" }, value || "(empty)"), el("small", {}, count(rows)), bar);
      return el("li", {}, one);
    });
    if (others) items.push(el("li", { class: "dim others" }, `${some(others, "row")} with other values`));
    return el("ul", {}, ...items);
  }

  pressable(part, label, properties, changes = {}) {
    const { store } = this.page;
    const pressed = part.split(" AND ").every((piece) => store.state.where.split(" AND ").includes(piece));
    return button("", () => store.set({ where: toggled(store.state.where, part), ...changes }),
      { title: label, "aria-label": label, "aria-pressed": String(pressed), ...properties });
  }
}

/** A number in few digits. */
const short = (number) => String(Number.isInteger(number) ? number : Number(number.toPrecision(6)));
