// How the map is moved: by dragging, pinching, the wheel, buttons and keys.

const PAN_PX = 80;
const STEP = 1.4; // of a zoom
const REACH_PX = 18; // of a click beside a point
const CLICK_PX = 5; // moved less, a press is a click

export class MapInput {
  constructor(map) {
    this.map = map;
    this.pointers = new Map();
    const { canvas } = map;
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.up(event));
    canvas.addEventListener("pointercancel", (event) => this.pointers.delete(event.pointerId));
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("keydown", (event) => this.pressed(event));
    for (const kind of ["focus", "blur"]) canvas.addEventListener(kind, () => map.draw());
    for (const one of document.querySelectorAll("[data-map]")) {
      one.addEventListener("click", () => this.zoom(one.dataset.map));
    }
  }

  zoom(how) {
    const { camera } = this.map;
    if (how === "all") camera.reset();
    else camera.approach(how === "in" ? STEP : 1 / STEP);
    this.map.moved();
  }

  down(event) {
    this.map.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
    if (this.pointers.size === 1) this.travelled = 0;
  }

  move(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const spread = this.spread();
    const now = { x: event.offsetX, y: event.offsetY };
    this.pointers.set(event.pointerId, now);
    const share = 1 / this.pointers.size;
    this.map.camera.pan((now.x - before.x) * share, (now.y - before.y) * share);
    this.travelled += Math.hypot(now.x - before.x, now.y - before.y);
    if (this.pointers.size === 2 && spread) {
      const [a, b] = [...this.pointers.values()];
      this.map.camera.approach(this.spread() / spread, (a.x + b.x) / 2, (a.y + b.y) / 2);
    }
    this.map.moved();
  }

  /** How far apart two fingers are. */
  spread() {
    if (this.pointers.size !== 2) return 0;
    const [a, b] = [...this.pointers.values()];
    return Math.hypot(a.x - b.x, a.y - b.y);
  }

  up(event) {
    const alone = this.pointers.size === 1;
    this.pointers.delete(event.pointerId);
    if (alone && this.travelled < CLICK_PX) this.map.open(event.offsetX, event.offsetY, REACH_PX);
  }

  wheel(event) {
    event.preventDefault();
    this.map.camera.approach(Math.exp(-event.deltaY / 400), event.offsetX, event.offsetY);
    this.map.moved();
  }

  pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { camera } = this.map;
    const pans = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    const zooms = { "+": "in", "=": "in", "-": "out", "0": "all" };
    if (event.key in pans) {
      const [x, y] = pans[event.key];
      camera.pan(x * PAN_PX, y * PAN_PX);
      this.map.moved();
    } else if (event.key in zooms) this.zoom(zooms[event.key]);
    else if (event.key === "Enter") this.map.open(camera.width / 2, camera.height / 2);
    else return;
    event.preventDefault();
  }
}
