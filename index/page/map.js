// A map of the dataset to wander in: near pictures lie near each other. Points, and pictures
// where there is room; the hits of the query are marked.

import { Camera } from "./camera.js";
import { byId, count, later, some } from "./dom.js";
import { MapInput } from "./map-input.js";
import { show } from "./pictures.js";
import { asks, filters } from "./query.js";

const PICTURES = 160; // drawn at once, at most
const SMALLEST_PX = 40;
const LARGEST_PX = 112;
const KEPT = 600;
const RETRY_MS = 3000; // while the server is making the map

export class DatasetMap {
  constructor(page) {
    this.page = page;
    this.canvas = byId("canvas");
    this.camera = new Camera();
    this.images = new Map();
    this.points = [];
    this.drawn = []; // points whose pictures are seen
    this.input = new MapInput(this);
    this.sayNear = later(250, () => this.sayCaption());
    new ResizeObserver(() => this.resize()).observe(this.canvas);
    addEventListener("theme", () => this.draw());
  }

  /** Show the map of a state's dataset and filters. */
  async show(state) {
    const { dataset: name, ...asked } = filters(state);
    const path = `v1/datasets/${encodeURIComponent(this.page.dataset.name)}/map?${new URLSearchParams(Object.entries(asked).flatMap(([key, value]) => [value].flat().map((one) => [key, one])))}`;
    if (path === this.path) return this.draw();
    this.path = path;
    byId("map-said").textContent = "The map is being made…";
    try {
      const found = await this.page.client.get(path);
      if (path !== this.path) return;
      this.take(found);
    } catch (error) {
      if (path !== this.path) return;
      this.path = null;
      if (error.status === 503) setTimeout(() => this.page.store.state.view === "map" && this.show(state), RETRY_MS);
      else this.page.failed(error);
    }
  }

  take(found) {
    this.points = found.keys.map((key, at) => ({ key, lot: lot(at), x: found.x[at], y: found.y[at] }));
    this.rows = found.rows;
    this.images.clear();
    this.camera.frame(this.points);
    this.page.failed(null);
    this.draw();
    this.sayNear();
  }

  resize() {
    const { clientWidth, clientHeight } = this.canvas;
    if (!clientWidth) return;
    const ratio = devicePixelRatio || 1;
    this.canvas.width = clientWidth * ratio;
    this.canvas.height = clientHeight * ratio;
    this.camera.width = clientWidth;
    this.camera.height = clientHeight;
    this.draw();
  }

  /** Draw once, however often it is asked for in a frame. */
  draw() {
    if (this.asked || !this.canvas.clientWidth) return;
    this.asked = requestAnimationFrame(() => {
      this.asked = 0;
      this.paint();
    });
  }

  paint() {
    const context = this.canvas.getContext("2d");
    const { width, height } = this.camera;
    const style = getComputedStyle(this.canvas);
    const ratio = devicePixelRatio || 1;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    const seen = this.seen();
    const hits = this.hits();
    for (const point of seen) this.dot(context, point, hits.has(point.key), style);
    this.drawn = this.roomy(seen, hits).filter((point) => this.thumbnail(context, point, hits.has(point.key), style));
    if (document.activeElement === this.canvas) this.cross(context, style.color);
    this.canvas.dataset.pictures = String(this.drawn.length);
    this.canvas.dataset.points = String(seen.length);
  }

  /** The points whose pictures do not cover one another; hits come first, the others by lot. */
  roomy(seen, hits) {
    const room = this.size * 1.06;
    const rank = (point) => (hits.has(point.key) ? point.lot - 1 : point.lot);
    const chosen = [];
    for (const point of seen.sort((a, b) => rank(a) - rank(b))) {
      const free = chosen.every(({ px, py }) => Math.abs(px - point.px) > room || Math.abs(py - point.py) > room);
      if (free) chosen.push(point);
      if (chosen.length >= PICTURES) break;
    }
    return chosen;
  }

  /** The keys of the query's hits. */
  hits() {
    const { results, store } = this.page;
    return new Set(asks(store.state) ? results.fetched.map((row) => row.key) : []);
  }

  /** The points in sight, with their pixels. */
  seen() {
    const { camera } = this;
    const [left, top] = camera.world(-40, -40);
    const [right, bottom] = camera.world(camera.width + 40, camera.height + 40);
    const there = this.points.filter(({ x, y }) => x >= left && x <= right && y >= top && y <= bottom);
    for (const point of there) [point.px, point.py] = camera.screen(point.x, point.y);
    return there;
  }

  /** Pixels of a picture's longer side: larger from near. */
  get size() {
    return Math.min(LARGEST_PX, SMALLEST_PX * Math.max(1, this.camera.zoom) ** 0.4);
  }

  dot(context, { px, py }, hit, style) {
    context.globalAlpha = hit ? 1 : 0.55;
    context.fillStyle = hit ? style.getPropertyValue("--hit") : style.color;
    context.beginPath();
    context.arc(px, py, hit ? 4 : 2.4, 0, 7);
    context.fill();
    context.globalAlpha = 1;
  }

  /** Draw a picture, if it is there already; whether it was. */
  thumbnail(context, point, hit, style) {
    const image = this.image(point.key);
    if (!image.naturalWidth) return false;
    const { size } = this;
    const scale = size / Math.max(image.naturalWidth, image.naturalHeight);
    const [w, h] = [image.naturalWidth * scale, image.naturalHeight * scale];
    context.drawImage(image, point.px - w / 2, point.py - h / 2, w, h);
    context.lineWidth = hit ? 3 : 1;
    context.strokeStyle = hit ? style.getPropertyValue("--hit") : style.getPropertyValue("--line");
    context.strokeRect(point.px - w / 2, point.py - h / 2, w, h);
    return true;
  }

  image(key) {
    if (this.images.has(key)) return this.images.get(key);
    if (this.images.size >= KEPT) this.images.delete(this.images.keys().next().value);
    const image = new Image();
    this.images.set(key, image);
    image.addEventListener("load", () => this.draw());
    show(image, this.page.client, { thumbnail: `v1/thumbnails/${this.page.place(key)}` }, { size: 128 });
    return image;
  }

  cross(context, colour) {
    const { width, height } = this.camera;
    context.strokeStyle = colour;
    context.lineWidth = 1.5;
    context.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.moveTo(width / 2 + 6 * dx, height / 2 + 6 * dy);
      context.lineTo(width / 2 + 15 * dx, height / 2 + 15 * dy);
    }
    context.stroke();
  }

  /** The point whose picture lies at pixels, else the nearest one within `reach`. */
  at(px, py, reach = Infinity) {
    const half = this.size / 2;
    const under = this.drawn.find((point) => Math.abs(point.px - px) <= half && Math.abs(point.py - py) <= half);
    if (under) return under;
    let found = null;
    for (const point of this.seen()) {
      const away = Math.hypot(point.px - px, point.py - py);
      if (away < reach) [found, reach] = [point, away];
    }
    return found;
  }

  /** Open the picture at pixels. */
  open(px, py, reach) {
    const point = this.at(px, py, reach);
    if (point) this.page.store.set({ row: point.key });
  }

  moved() {
    this.draw();
    this.sayNear();
  }

  async sayCaption() {
    const { width, height } = this.camera;
    const point = this.at(width / 2, height / 2);
    const all = this.points.length === this.rows;
    const drawn = `${some(this.points.length, "row")}${all ? "" : ` of ${count(this.rows)}`}`;
    const row = point && (await this.page.client.get(`v1/rows/${this.page.place(point.key)}`).catch(() => null));
    byId("map-said").textContent = row ? `${drawn}. In the middle: ${row.caption || row.key}` : `${drawn}.`;
  }
}

/** A number in 0 to 1 that is always the same for a place in the list, and like chance. */
const lot = (at) => (at * 0.6180339887498949) % 1;
