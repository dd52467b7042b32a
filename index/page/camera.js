// Where the map is looked at from: a centre and a scale.

const FARTHEST = 0.6; // of the scale that shows all
const NEAREST = 400;
const FILLED = 0.86; // of the canvas, by all points
const LEAST = 0.5; // that a map is wide: one point is not looked at from nothing

export class Camera {
  constructor() {
    this.width = this.height = 1;
    this.frame([]);
  }

  /** Show all of these points, now and whenever all is asked for. */
  frame(points) {
    const [left, right] = reach(points.map(({ x }) => x));
    const [top, bottom] = reach(points.map(({ y }) => y));
    this.whole = { x: (left + right) / 2, y: (top + bottom) / 2, w: right - left, h: bottom - top };
    this.reset();
  }

  reset() {
    this.x = this.whole.x;
    this.y = this.whole.y;
    this.zoom = 1;
  }

  /** Pixels a unit of the map. */
  get scale() {
    const { w, h } = this.whole;
    return this.zoom * FILLED * Math.min(this.width / w, this.height / h);
  }

  screen(x, y) {
    return [(x - this.x) * this.scale + this.width / 2, (y - this.y) * this.scale + this.height / 2];
  }

  world(px, py) {
    return [(px - this.width / 2) / this.scale + this.x, (py - this.height / 2) / this.scale + this.y];
  }

  pan(px, py) {
    const hold = (value) => Math.max(-1.2, Math.min(1.2, value));
    this.x = hold(this.x - px / this.scale);
    this.y = hold(this.y - py / this.scale);
  }

  /** Come nearer by a factor; what is at (px, py) stays there. */
  approach(factor, px = this.width / 2, py = this.height / 2) {
    const [x, y] = this.world(px, py);
    this.zoom = Math.max(FARTHEST, Math.min(NEAREST, this.zoom * factor));
    const [nowX, nowY] = this.world(px, py);
    this.x += x - nowX;
    this.y += y - nowY;
  }
}

function reach(values) {
  const low = values.reduce((least, value) => Math.min(least, value), Infinity);
  const high = values.reduce((most, value) => Math.max(most, value), -Infinity);
  if (!values.length) return [-1, 1];
  const spare = Math.max(0, LEAST - (high - low)) / 2;
  return [low - spare, high + spare];
}
