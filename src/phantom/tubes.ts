/** Draws curved tubes (ribs, clavicles, vessels, leads) as chord lengths of parallel rays along a path. */
import type { Anatomy } from './anatomy.js';
import { FIELD_CM, lungBorders, MU } from './anatomy.js';
import type { RandomSource } from './random-source.js';

/** A point of a tube's centre line in cm; z along the ray. */
export interface TubePoint {
  readonly x: number;
  readonly y: number;
  readonly z: number;
  readonly radius: number;
}

/** Converts between body coordinates in cm and pixels of the image: a rotation, a scale and a shift. */
export class Frame {
  readonly size: number;
  readonly pixelsPerCm: number;
  readonly #cos: number;
  readonly #sin: number;
  readonly #shiftX: number;
  readonly #shiftY: number;

  constructor(anatomy: Anatomy, size: number) {
    this.size = size;
    this.pixelsPerCm = (size / FIELD_CM) * anatomy.scale;
    this.#cos = Math.cos(anatomy.rotation);
    this.#sin = Math.sin(anatomy.rotation);
    this.#shiftX = size / 2 + anatomy.shiftX * this.pixelsPerCm;
    this.#shiftY = size / 2 + anatomy.shiftY * this.pixelsPerCm;
  }

  pixelX(x: number, y: number): number {
    return (this.#cos * x - this.#sin * y) * this.pixelsPerCm + this.#shiftX;
  }

  pixelY(x: number, y: number): number {
    return (this.#sin * x + this.#cos * y) * this.pixelsPerCm + this.#shiftY;
  }

  /** Body x of a pixel centre. */
  bodyX(column: number, row: number): number {
    const u = column + 0.5 - this.#shiftX;
    const v = row + 0.5 - this.#shiftY;
    return (this.#cos * u + this.#sin * v) / this.pixelsPerCm;
  }

  /** Body y of a pixel centre. */
  bodyY(column: number, row: number): number {
    const u = column + 0.5 - this.#shiftX;
    const v = row + 0.5 - this.#shiftY;
    return (this.#cos * v - this.#sin * u) / this.pixelsPerCm;
  }
}

/**
 * Writes the chord through a tube (in cm) into `chord` [size, size]: the largest over its straight segments. Where a
 * segment runs towards the ray's direction, the chord is larger by the segment's length over its projected length, at
 * most `obliqueMax` times.
 * @returns indices of the pixels that were written, so that the caller can read and clear them
 */
export function drawTube(
  frame: Frame,
  path: readonly TubePoint[],
  chord: Float32Array,
  obliqueMax = 2.2,
): number[] {
  const touched: number[] = [];
  for (let i = 0; i + 1 < path.length; i++)
    drawSegment(frame, path[i]!, path[i + 1]!, chord, obliqueMax, touched);
  return touched;
}

function drawSegment(
  frame: Frame,
  from: TubePoint,
  to: TubePoint,
  chord: Float32Array,
  obliqueMax: number,
  touched: number[],
): void {
  const { size, pixelsPerCm } = frame;
  const x0 = frame.pixelX(from.x, from.y);
  const y0 = frame.pixelY(from.x, from.y);
  const dx = frame.pixelX(to.x, to.y) - x0;
  const dy = frame.pixelY(to.x, to.y) - y0;
  const lengthSquared = dx * dx + dy * dy;
  const projected = Math.sqrt(lengthSquared) / pixelsPerCm;
  const oblique = Math.min(obliqueMax, Math.hypot(projected, to.z - from.z) / Math.max(projected, 1e-6));
  const reach = Math.max(from.radius, to.radius) * pixelsPerCm + 1;
  const top = Math.max(0, Math.floor(Math.min(y0, y0 + dy) - reach));
  const bottom = Math.min(size - 1, Math.ceil(Math.max(y0, y0 + dy) + reach));
  const left = Math.max(0, Math.floor(Math.min(x0, x0 + dx) - reach));
  const right = Math.min(size - 1, Math.ceil(Math.max(x0, x0 + dx) + reach));
  for (let row = top; row <= bottom; row++) {
    for (let column = left; column <= right; column++) {
      const px = column + 0.5 - x0;
      const py = row + 0.5 - y0;
      const along = lengthSquared > 0 ? Math.min(1, Math.max(0, (px * dx + py * dy) / lengthSquared)) : 0;
      const radius = (from.radius + (to.radius - from.radius) * along) * pixelsPerCm;
      const ex = px - along * dx;
      const ey = py - along * dy;
      const inside = radius * radius - ex * ex - ey * ey;
      if (inside <= 0) continue;
      const at = row * size + column;
      const value = (2 * Math.sqrt(inside) * oblique) / pixelsPerCm;
      if (chord[at] === 0) touched.push(at);
      if (value > chord[at]!) chord[at] = value;
    }
  }
}

/** Adds a hollow bone: a cortical shell around marrow. `scratch` [size, size] is all zero before and after. */
export function addBone(
  frame: Frame,
  path: readonly TubePoint[],
  attenuation: Float32Array,
  scratch: Float32Array,
): void {
  const outer = drawTube(frame, path, scratch);
  for (const at of outer) {
    attenuation[at] = attenuation[at]! + (MU.bone - MU.soft) * scratch[at]!;
    scratch[at] = 0;
  }
  const core = path.map((point) => ({ ...point, radius: point.radius * 0.74 }));
  for (const at of drawTube(frame, core, scratch)) {
    attenuation[at] = attenuation[at]! - (MU.bone - MU.marrow) * scratch[at]!;
    scratch[at] = 0;
  }
}

/** The ribs of one side: from the spine around the chest wall down to the front, where cartilage begins. */
export function ribPaths(anatomy: Anatomy, side: -1 | 1, random: RandomSource): TubePoint[][] {
  const paths: TubePoint[][] = [];
  const top = anatomy.apex + 0.6;
  const spacing = (anatomy.lungs[0].dome + 3.6 - top) / anatomy.ribPairs;
  for (let rib = 0; rib < anatomy.ribPairs; rib++) {
    const start = top + rib * spacing + random.between(-0.12, 0.12);
    const share = rib / (anatomy.ribPairs - 1);
    const fall = 4.2 + 6.4 * Math.sqrt(share) + random.between(-0.3, 0.3);
    const front = (0.8 - 0.14 * share) * Math.PI;
    const wall = lungBorders(anatomy, start + fall * 0.35)?.lateral ?? 5;
    const width = wall + 0.35;
    const steps = 34;
    const path: TubePoint[] = [];
    for (let step = 0; step <= steps; step++) {
      const angle = 0.14 + (front - 0.14) * (step / steps);
      const turn = angle / Math.PI;
      // Ribs rise a little behind the spine before they fall.
      const y =
        start + fall * turn ** 1.55 - 0.7 * Math.sin(Math.min(Math.PI, angle * 2)) * (1 - share * 0.4);
      path.push({
        x: side * width * Math.sin(angle),
        y,
        z: -anatomy.chestHalfDepth * Math.cos(angle),
        radius: 0.5 + 0.08 * Math.sin(angle) + 0.06 * (1 - share),
      });
    }
    paths.push(path);
  }
  return paths;
}

/** A clavicle: an S from the sternum up and out to the shoulder. */
export function claviclePath(anatomy: Anatomy, side: -1 | 1, random: RandomSource): TubePoint[] {
  const y = anatomy.apex + random.between(1.9, 2.7);
  const rise = random.between(0.6, 1.6);
  return Array.from({ length: 21 }, (_, i) => {
    const t = i / 20;
    return {
      x: side * (1.9 + 14 * t),
      y: y - rise * t - 0.55 * Math.sin(t * 2 * Math.PI),
      z: 6 - 6 * t,
      radius: 0.62 - 0.2 * Math.sin(t * Math.PI) + 0.15 * t,
    };
  });
}

/** The scapula's medial border and spine, beside and behind the upper lung. */
export function scapulaPaths(anatomy: Anatomy, side: -1 | 1, random: RandomSource): TubePoint[][] {
  const x = anatomy.chestHalfWidth + random.between(-0.6, 0.8);
  const y = anatomy.apex + random.between(3.2, 4.2);
  const point = (dx: number, dy: number, radius: number): TubePoint => ({
    x: side * (x + dx),
    y: y + dy,
    z: -8,
    radius,
  });
  return [
    [point(-0.6, 0, 0.3), point(-0.9, 3, 0.3), point(-0.1, 7, 0.34), point(1, 9, 0.4)],
    [point(-0.6, 0.2, 0.3), point(2, -1, 0.5), point(4.6, -2.2, 0.7)],
    [point(1, 9, 0.4), point(2.6, 5, 0.42), point(4, 1.4, 0.6)],
  ];
}

/** Pulmonary vessels of one lung: a tree from the hilum that branches and becomes thinner towards the chest wall. */
export function vesselPaths(side: -1 | 1, random: RandomSource): TubePoint[][] {
  const paths: TubePoint[][] = [];
  const hilumY = -1.6 + (side > 0 ? -0.8 : 0);
  const grow = (x: number, y: number, angle: number, radius: number, depth: number): void => {
    if (depth === 0 || radius < 0.05) return;
    const length = random.between(1.3, 2.2) * (0.5 + radius * 1.6);
    const path: TubePoint[] = [{ x, y, z: 0, radius }];
    let heading = angle;
    for (let step = 1; step <= 4; step++) {
      heading += random.between(-0.14, 0.14);
      const last = path[path.length - 1]!;
      path.push({
        x: last.x + (side * Math.cos(heading) * length) / 4,
        y: last.y + (Math.sin(heading) * length) / 4,
        z: 0,
        radius: radius * (1 - 0.05 * step),
      });
    }
    paths.push(path);
    const end = path[path.length - 1]!;
    const spread = random.between(0.25, 0.5);
    grow(end.x, end.y, heading + spread, radius * random.between(0.68, 0.84), depth - 1);
    grow(end.x, end.y, heading - spread, radius * random.between(0.68, 0.84), depth - 1);
  };
  for (const angle of [-1.25, -0.6, 0.05, 0.7, 1.25]) {
    const start = { x: side * random.between(3.2, 4.2), y: hilumY + angle * 1.3 };
    grow(start.x, start.y, angle + random.between(-0.12, 0.12), random.between(0.46, 0.6), 8);
  }
  return paths;
}
