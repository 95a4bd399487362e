/**
 * The body of a phantom: random sizes, and the lengths (chords) of parallel rays from front to back through each organ
 * in closed form. Lengths in cm; x to the image's right (the patient's left), y downwards, the origin at the centre of
 * a 40 cm field.
 */
import type { RandomSource } from './random-source.js';

/** Side of the square field of view in cm. */
export const FIELD_CM = 40;

/** Effective linear attenuation coefficients at the mean energy of a chest beam, per cm. */
export const MU = { soft: 0.17, lung: 0.042, bone: 0.44, marrow: 0.24, metal: 4 } as const;

/** Thickness of the chest wall in front of the lungs and behind them. */
const WALL_CM = 2.6;

/** One lung; `side` is -1 for the image's left, 1 for its right. */
export interface Lung {
  readonly side: -1 | 1;
  /** Highest point of the diaphragm under this lung. */
  readonly dome: number;
}

export interface Ellipse {
  readonly x: number;
  readonly y: number;
  readonly radiusX: number;
  readonly radiusY: number;
  /** Half depth along the ray. */
  readonly radiusZ: number;
  readonly tilt: number;
}

export interface Anatomy {
  /** Position of the patient: rotation in radians, shift in cm, and a scale for all sizes. */
  readonly rotation: number;
  readonly shiftX: number;
  readonly shiftY: number;
  readonly scale: number;
  /** Exposure relative to nominal. */
  readonly exposure: number;
  /** Largest lateral extent of a lung from the midline. */
  readonly chestHalfWidth: number;
  readonly chestHalfDepth: number;
  readonly bodyHalfDepth: number;
  readonly apex: number;
  readonly lungs: readonly [Lung, Lung];
  readonly heart: Ellipse;
  readonly aorticArch: Ellipse;
  readonly stomachAir: Ellipse;
  /** Soft tissue in front of the lower lungs; empty for a flat chest. */
  readonly breasts: readonly Ellipse[];
  readonly ribPairs: number;
  readonly vertebraHeight: number;
  readonly vertebraPhase: number;
}

export function drawAnatomy(random: RandomSource): Anatomy {
  const chestHalfWidth = random.between(12.6, 14.2);
  const dome = random.between(6.6, 8.8);
  const leftDome = dome + random.between(0.4, 1.4);
  const heartSize = random.between(0.92, 1.1);
  const breastSize = random.next() < 0.45 ? random.between(0.6, 1) : 0;
  const breast = (side: number): Ellipse => ({
    x: side * random.between(7.6, 8.6),
    y: random.between(5, 6.2),
    radiusX: 5.6 * breastSize,
    radiusY: 5.2 * breastSize,
    radiusZ: 1.1 * breastSize,
    tilt: 0,
  });
  return {
    rotation: random.between(-0.035, 0.035),
    shiftX: random.between(-0.7, 0.7),
    shiftY: random.between(-0.7, 0.7),
    scale: random.between(0.95, 1.05),
    exposure: random.between(0.9, 1.1),
    chestHalfWidth,
    chestHalfDepth: random.between(7.4, 8.4),
    bodyHalfDepth: random.between(9.8, 11),
    apex: random.between(-15.2, -14.2),
    lungs: [
      { side: -1, dome },
      { side: 1, dome: leftDome },
    ],
    heart: {
      x: random.between(1.7, 2.4),
      y: dome - random.between(3.2, 3.8),
      radiusX: 6.1 * heartSize,
      radiusY: 4.9 * heartSize,
      radiusZ: 4.6 * heartSize,
      tilt: random.between(0.5, 0.7),
    },
    aorticArch: { x: 2, y: random.between(-7.6, -6.8), radiusX: 1.9, radiusY: 1.8, radiusZ: 2.2, tilt: 0 },
    stomachAir: {
      x: random.between(6, 8),
      y: leftDome + random.between(2.2, 3),
      radiusX: random.between(1.6, 3),
      radiusY: random.between(1, 1.6),
      radiusZ: random.between(1.2, 2.2),
      tilt: random.between(-0.3, 0.3),
    },
    breasts: breastSize > 0 ? [breast(-1), breast(1)] : [],
    ribPairs: random.integer(9, 11),
    vertebraHeight: random.between(2.2, 2.6),
    vertebraPhase: random.next(),
  };
}

/** Chord through the body: nearly elliptic cross-sections whose half axes change from neck over shoulders to thorax. */
export function bodyChord(anatomy: Anatomy, x: number, y: number): number {
  const shoulders = smoothstep(-20, -13.4, y);
  const thorax = smoothstep(-12.5, -4, y);
  const halfWidth = 6.2 + shoulders * 15.5 - thorax * (21.7 - (anatomy.chestHalfWidth + 3));
  const halfDepth = 6.2 + smoothstep(-18, -9, y) * (anatomy.bodyHalfDepth - 6.2);
  const u = x / halfWidth;
  return u * u < 1 ? 2 * halfDepth * (1 - u * u) ** 0.42 : 0;
}

/** Lateral and medial border of a lung at height y, as distances from the midline; null above the apex. */
export function lungBorders(anatomy: Anatomy, y: number): { lateral: number; medial: number } | null {
  const below = y - anatomy.apex;
  if (below <= 0) return null;
  const opening = roundOff(below / 15);
  const tip = 4.6;
  return {
    lateral: tip + (anatomy.chestHalfWidth - tip) * opening,
    medial: tip - (tip - 2.7) * roundOff(below / 4) + 0.5 * smoothstep(-3, 4, y),
  };
}

/**
 * Chord through a lung. Below the top of the diaphragm's dome a ray still crosses the lung in front of the dome and
 * behind it: the dome falls as k z² along the ray, so the chord is 2 (c - sqrt((y - dome) / k)).
 * @param body chord through the body at the same point
 */
export function lungChord(
  anatomy: Anatomy,
  lung: Lung,
  x: number,
  y: number,
  body = bodyChord(anatomy, x, y),
): number {
  const borders = lungBorders(anatomy, y);
  const distance = x * lung.side;
  if (!borders || distance <= borders.medial || distance >= borders.lateral) return 0;
  const center = (borders.medial + borders.lateral) / 2;
  const u = (distance - center) / (borders.lateral - center);
  const depth = anatomy.chestHalfDepth * roundOff((y - anatomy.apex) / 11);
  // The depth of the body minus the chest wall limits the depth of the lung, most of all at the sides.
  const room = Math.max(0, body / 2 - WALL_CM);
  const half = Math.min(depth * Math.sqrt(1 - u * u * u * u), room);
  const dome = diaphragm(lung, distance);
  if (y <= dome) return 2 * half;
  return 2 * Math.max(0, half - Math.sqrt((y - dome) / 0.075));
}

/** Height of the diaphragm's highest line at a distance from the midline. */
export function diaphragm(lung: Lung, distance: number): number {
  const away = distance - 6.2;
  return lung.dome + (away > 0 ? 0.062 : 0.028) * away * away;
}

/** Chord through an ellipsoid. */
export function ellipsoidChord(e: Ellipse, x: number, y: number): number {
  const dx = x - e.x;
  const dy = y - e.y;
  const reach = Math.max(e.radiusX, e.radiusY);
  if (Math.abs(dx) > reach || Math.abs(dy) > reach) return 0;
  const c = Math.cos(e.tilt);
  const s = Math.sin(e.tilt);
  const u = (c * dx + s * dy) / e.radiusX;
  const v = (c * dy - s * dx) / e.radiusY;
  const inside = 1 - u * u - v * v;
  return inside > 0 ? 2 * e.radiusZ * Math.sqrt(inside) : 0;
}

/** Chord through a soft mound, such as a breast, which becomes thin towards its border and has no visible edge. */
export function moundChord(e: Ellipse, x: number, y: number): number {
  const chord = ellipsoidChord(e, x, y);
  return (chord * chord) / (2 * e.radiusZ);
}

/**
 * Attenuation of the spine beyond that of soft tissue: vertebral bodies with end plates, discs, pedicles, processes.
 */
export function spineAttenuation(anatomy: Anatomy, x: number, y: number): number {
  const u = x / 1.75;
  if (u * u >= 1) return 0;
  const position = (y + 40) / anatomy.vertebraHeight + anatomy.vertebraPhase;
  const within = position - Math.floor(position);
  const fade = smoothstep(-19, -15, y);
  const body = Math.sqrt(1 - u * u) * 2.6 * (MU.marrow - MU.soft);
  const endPlate = Math.exp(-(((Math.abs(within - 0.5) - 0.36) / 0.05) ** 2)) * 0.13;
  const isDisc = smoothstep(0.39, 0.44, Math.abs(within - 0.5));
  const pedicleX = (Math.abs(x) - 1.05) / 0.34;
  const pedicleY = (within - 0.34) / 0.17;
  const ring = Math.hypot(pedicleX, pedicleY);
  const pedicle = 0.16 * Math.exp(-(((ring - 0.8) / 0.3) ** 2));
  const processX = x / 0.3;
  const processY = (within - 0.8) / 0.2;
  const process = 0.16 * Math.exp(-(processX * processX + processY * processY));
  return fade * (body * (1 - 0.75 * isDisc) + endPlate * (1 - u ** 8) + pedicle + process);
}

/** 0 below `from`, 1 above `to`, a smooth cubic between. */
export function smoothstep(from: number, to: number, value: number): number {
  const t = Math.min(1, Math.max(0, (value - from) / (to - from)));
  return t * t * (3 - 2 * t);
}

/** A quarter circle from (0, 0) to (1, 1), 1 beyond: the outline of a lung below its apex. */
function roundOff(t: number): number {
  const left = 1 - Math.min(1, Math.max(0, t));
  return Math.sqrt(1 - left * left);
}
