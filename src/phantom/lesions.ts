/** Adds lesions to a phantom's attenuation and gives their exact masks. Lengths in cm. */
import { type Anatomy, diaphragm, type Lung, lungBorders, lungChord, MU, smoothstep } from './anatomy.js';
import { NoiseField, type RandomSource } from './random-source.js';
import { drawTube, type Frame, type TubePoint } from './tubes.js';

export const LESION_KINDS = ['nodule', 'consolidation', 'effusion', 'device'] as const;
export type LesionKind = (typeof LESION_KINDS)[number];

/** The phantom that a lesion is added to. */
export interface LesionContext {
  readonly anatomy: Anatomy;
  readonly frame: Frame;
  readonly random: RandomSource;
  /** Chord through air-filled lung per pixel [size, size], without the volume of the heart. */
  readonly lung: Float32Array;
  /** Line integral of the attenuation per pixel [size, size]; the lesion is added here. */
  readonly attenuation: Float32Array;
  /** Scratch memory [size, size], all zero before and after. */
  readonly scratch: Float32Array;
}

/** @returns mask of the lesion, uint8 [size, size]: 1 on the lesion */
export function addLesion(kind: LesionKind, context: LesionContext): Uint8Array {
  switch (kind) {
    case 'nodule':
      return addNodule(context);
    case 'consolidation':
      return addConsolidation(context);
    case 'effusion':
      return addEffusion(context);
    case 'device':
      return addDevice(context);
  }
}

const LUNG_TO_SOFT = MU.soft - MU.lung;

/** A lobulated ball of 8 to 20 mm radius in aerated lung; calcium makes it denser than soft tissue. */
function addNodule(context: LesionContext): Uint8Array {
  const { random, lung, attenuation } = context;
  const radius = random.between(0.8, 2);
  const [x, y] = placeInLung(context, radius, random.between(-11, 4.5));
  const phase = random.between(0, 2 * Math.PI);
  const contrast = LUNG_TO_SOFT * random.between(1.3, 1.9);
  return forEachPixel(context, (bodyX, bodyY, at) => {
    const angle = Math.atan2(bodyY - y, bodyX - x);
    const edge = radius * (1 + 0.05 * Math.sin(3 * angle + phase) + 0.03 * Math.sin(7 * angle - phase));
    const inside = edge * edge - (bodyX - x) ** 2 - (bodyY - y) ** 2;
    if (inside <= 0 || lung[at]! <= 0) return 0;
    attenuation[at] = attenuation[at]! + contrast * Math.min(lung[at]!, 2 * Math.sqrt(inside));
    return 1;
  });
}

/** Fluid in place of some of a lung's air: with soft edges, patchy, in one zone of the lung. */
function addConsolidation(context: LesionContext): Uint8Array {
  const { frame, random, lung, attenuation } = context;
  const radiusX = random.between(2.6, 4.2);
  const radiusY = random.between(2.6, 4.6);
  const [x, y] = placeInLung(context, 2.4, random.between(-9, 4));
  const filled = random.between(0.35, 0.55);
  const shape = new NoiseField(random, frame.size, 9);
  const patches = new NoiseField(random, frame.size, 34);
  const fine = new NoiseField(random, frame.size, 90);
  const side = x < 0 ? -1 : 1;
  return forEachPixel(context, (bodyX, bodyY, at) => {
    // The pleura separates the lungs: no consolidation crosses the midline.
    if (lung[at]! <= 0 || bodyX * side <= 0) return 0;
    const column = at % frame.size;
    const row = (at - column) / frame.size;
    const distance = Math.hypot((bodyX - x) / radiusX, (bodyY - y) / radiusY) + 0.3 * shape.at(column, row);
    const soft = 1 - smoothstep(0.55, 1.15, distance);
    if (soft <= 0) return 0;
    const texture = 1 + 0.35 * patches.at(column, row) + 0.2 * fine.at(column, row);
    const share = filled * soft * Math.max(0, texture);
    attenuation[at] = attenuation[at]! + LUNG_TO_SOFT * lung[at]! * Math.min(0.9, share);
    return soft > 0.25 ? 1 : 0;
  });
}

/** Fluid from the costophrenic angle up to a level that rises towards the chest wall (the meniscus). */
function addEffusion(context: LesionContext): Uint8Array {
  const { anatomy, random, lung, attenuation } = context;
  const affected: Lung = anatomy.lungs[random.integer(0, 1)]!;
  const lateral = lungBorders(anatomy, affected.dome)!.lateral;
  const level = diaphragm(affected, lateral) - random.between(3.2, 7);
  const rise = random.between(2.4, 3.6);
  return forEachPixel(context, (bodyX, bodyY, at) => {
    const distance = bodyX * affected.side;
    if (lung[at]! <= 0 || distance <= 0) return 0;
    const wall = lungBorders(anatomy, bodyY)!.lateral;
    const surface = level - rise * Math.exp(-(wall - distance) / 1.8);
    const depth = bodyY - surface;
    if (depth <= -0.6) return 0;
    // At its top the fluid is only in front of and behind the lung; deeper it fills the whole depth.
    const share = 0.9 * smoothstep(-0.6, 2.4, depth);
    attenuation[at] = attenuation[at]! + LUNG_TO_SOFT * lung[at]! * share;
    return share > 0.12 ? 1 : 0;
  });
}

/** A pacemaker below a clavicle: a metal case with a battery, a plastic header, and a lead to the right ventricle. */
function addDevice(context: LesionContext): Uint8Array {
  const { anatomy, frame, random, attenuation, scratch } = context;
  const side = random.next() < 0.75 ? 1 : -1;
  const x = side * random.between(8.4, 10.2);
  const y = anatomy.apex + random.between(4.8, 6.4);
  const half = random.between(1.9, 2.4);
  const mask = forEachPixel(context, (bodyX, bodyY, at) => {
    const u = Math.abs(bodyX - x) / half;
    const v = Math.abs(bodyY - y) / (half * 0.92);
    const round = u ** 5 + v ** 5;
    if (round >= 1) return 0;
    const isHeader = bodyY < y - half * 0.5;
    attenuation[at] = attenuation[at]! + MU.metal * (isHeader ? 0.3 : 0.8 + 0.2 * (1 - round));
    return 1;
  });
  const heart = anatomy.heart;
  const stops: readonly (readonly [number, number])[] = [
    [x - side * half * 0.4, y - half * 0.85],
    [x + side * 0.4, y - half * 1.5],
    [side * 5.5, anatomy.apex + 2.6],
    [side * 1.2, anatomy.apex + 4.6],
    [-2, anatomy.apex + 7],
    [-2.4, heart.y - 2.2],
    [-1.4, heart.y + 1.6],
    [heart.x - 0.4, heart.y + 3],
    [heart.x + 3, heart.y + 3.2],
  ];
  for (const at of drawTube(frame, smoothPath(stops, 0.13), scratch)) {
    attenuation[at] = attenuation[at]! + 4 * scratch[at]!;
    mask[at] = 1;
    scratch[at] = 0;
  }
  return mask;
}

/** Calls `add` for every pixel with its body coordinates and index. @returns mask of the pixels where it is above 0 */
function forEachPixel(context: LesionContext, add: (x: number, y: number, at: number) => number): Uint8Array {
  const { frame } = context;
  const { size } = frame;
  const mask = new Uint8Array(size * size);
  for (let row = 0, at = 0; row < size; row++) {
    for (let column = 0; column < size; column++, at++) {
      if (add(frame.bodyX(column, row), frame.bodyY(column, row), at) > 0) mask[at] = 1;
    }
  }
  return mask;
}

/** A random centre near height y in one of the lungs, `radius` away from its borders and outside the heart. */
function placeInLung(context: LesionContext, radius: number, y: number): [number, number] {
  const { anatomy, random, frame, lung } = context;
  const size = frame.size;
  for (let attempt = 0; attempt < 200; attempt++) {
    const chosen = anatomy.lungs[random.integer(0, 1)]!;
    const height = y + random.between(-0.02, 0.02) * attempt;
    const borders = lungBorders(anatomy, height);
    if (!borders || borders.lateral - borders.medial < 2 * radius + 0.4) continue;
    const distance = random.between(borders.medial + radius, borders.lateral - radius);
    const x = chosen.side * distance;
    if (height + radius > diaphragm(chosen, distance)) continue;
    const column = Math.floor(frame.pixelX(x, height));
    const row = Math.floor(frame.pixelY(x, height));
    const air = lung[Math.min(size - 1, Math.max(0, row)) * size + Math.min(size - 1, Math.max(0, column))]!;
    if (air > 0.7 * lungChord(anatomy, chosen, x, height)) return [x, height];
  }
  // The mid zone of the right lung is outside the heart in every anatomy.
  return [-8, -4];
}

/** Catmull-Rom spline through the stops. */
function smoothPath(stops: readonly (readonly [number, number])[], radius: number): TubePoint[] {
  const path: TubePoint[] = [];
  for (let i = 0; i + 1 < stops.length; i++) {
    const p = [
      stops[Math.max(0, i - 1)]!,
      stops[i]!,
      stops[i + 1]!,
      stops[Math.min(stops.length - 1, i + 2)]!,
    ];
    for (let step = 0; step < 8; step++) {
      const t = step / 8;
      const along = (axis: 0 | 1): number => {
        const [a, b, c, d] = p.map((stop) => stop[axis]) as [number, number, number, number];
        return b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)));
      };
      path.push({ x: along(0), y: along(1), z: 0, radius });
    }
  }
  const [x, y] = stops[stops.length - 1]!;
  path.push({ x, y, z: 0, radius });
  return path;
}
