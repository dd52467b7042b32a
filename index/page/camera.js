// Where the map is looked at from: a centre and a scale.

const FARTHEST = 0.6; // of the scale that shows all
const NEAREST = 400;

export class Camera {
  constructor() {
    this.width = this.height = 1;
    this.reset();
  }

  reset() {
    this.x = 0;
    this.y = 0;
    this.zoom = 1;
  }

  /** Pixels a unit of the map. */
  get scale() {
    return this.zoom * Math.min(this.width, this.height) * 0.46;
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
