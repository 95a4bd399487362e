/**
 * Makes synthetic chest radiographs: attenuation (Beer-Lambert) integrated along parallel rays through a random
 * anatomy, scatter, detector blur, photon noise, and the logarithm of a detector's processing. Everything depends only
 * on the seed, so demos, tests and the shipped phantom model need no external data.
 */
import { SaladError } from '../errors/index.js';
import type { Box } from '../geometry/placement.js';
import {
  type Anatomy,
  bodyChord,
  drawAnatomy,
  ellipsoidChord,
  lungChord,
  MU,
  moundChord,
  spineAttenuation,
} from './anatomy.js';
import { addLesion, type LesionKind } from './lesions.js';
import { createRandomSource, NoiseField } from './random-source.js';
import { addBone, claviclePath, drawTube, Frame, ribPaths, scapulaPaths, vesselPaths } from './tubes.js';

export { LESION_KINDS, type LesionKind } from './lesions.js';

export interface PhantomOptions {
  /** A 32-bit integer that selects the patient. */
  readonly seed: number;
  /** @default 'none' */
  readonly lesion?: LesionKind | 'none';
  /** Rows and columns, 64 to 4096. @default 512 */
  readonly size?: number;
}

export interface PhantomLesion {
  readonly kind: LesionKind;
  /** uint8 [rows, columns], 1 on the lesion. */
  readonly mask: Uint8Array;
  /** Smallest box around the mask, in pixels; right and bottom are exclusive. */
  readonly box: Box;
}

export interface Phantom {
  readonly rows: number;
  readonly columns: number;
  /** uint16 [rows, columns], 12 bits stored, MONOCHROME2: dense tissue is bright. */
  readonly samples: Uint16Array;
  /** The VOI window (LINEAR) of a calibrated detector, the same for every phantom. */
  readonly window: { readonly center: number; readonly width: number };
  readonly lesion: PhantomLesion | null;
}

/** Stored value = VALUE_AT_AIR + VALUE_PER_NEPER * line integral at nominal exposure. */
const VALUE_AT_AIR = 300;
const VALUE_PER_NEPER = 640;

/** Covers line integrals from 0.75 (inflated lung at the edge) to 4.35 (spine behind the heart). */
export const PHANTOM_WINDOW = { center: 1932, width: 2304 } as const;

/** Photons per pixel of a 512 x 512 phantom without a body: about 2% noise behind the mediastinum. */
const PHOTONS_PER_PIXEL_512 = 90_000;

/** Scattered photons behind the grid, as a share of the unattenuated beam: it lowers contrast in dense regions. */
const SCATTER = 0.003;

/** Most rows and columns of a phantom. */
export const PHANTOM_SIZE_MAX = 4096;

/** @throws SaladError CONFIGURATION_INVALID where the size or the seed is out of range. */
export function makePhantom(options: PhantomOptions): Phantom {
  const { seed, lesion = 'none', size = 512 } = options;
  if (!Number.isInteger(size) || size < 64 || size > PHANTOM_SIZE_MAX) {
    throw new SaladError(
      'CONFIGURATION_INVALID',
      `a phantom's size must be 64 to ${PHANTOM_SIZE_MAX}, is ${size}`,
    );
  }
  if (!Number.isSafeInteger(seed)) {
    throw new SaladError('CONFIGURATION_INVALID', `a phantom's seed must be a whole number, is ${seed}`);
  }
  const anatomy = drawAnatomy(createRandomSource(seed, 'anatomy'));
  const frame = new Frame(anatomy, size);
  const attenuation = new Float32Array(size * size);
  const lung = new Float32Array(size * size);
  const scratch = new Float32Array(size * size);
  addTissue(anatomy, frame, seed, attenuation, lung);
  addVessels(frame, seed, attenuation, lung, scratch);
  addSkeleton(anatomy, frame, seed, attenuation, scratch);
  let addedLesion: PhantomLesion | null = null;
  if (lesion !== 'none') {
    const random = createRandomSource(seed, lesion);
    const mask = addLesion(lesion, { anatomy, frame, random, lung, attenuation, scratch });
    addedLesion = { kind: lesion, mask, box: boxOf(mask, size) };
  }
  const samples = expose(attenuation, size, anatomy.exposure, seed);
  return { rows: size, columns: size, samples, window: PHANTOM_WINDOW, lesion: addedLesion };
}

/** Adds body, lungs, heart, aorta, stomach, breasts and spine; writes the chord through aerated lung to `lung`. */
function addTissue(
  anatomy: Anatomy,
  frame: Frame,
  seed: number,
  attenuation: Float32Array,
  lung: Float32Array,
): void {
  const random = createRandomSource(seed, 'texture');
  const { size } = frame;
  const coarse = new NoiseField(random, size, 7);
  const medium = new NoiseField(random, size, 22);
  const fine = new NoiseField(random, size, 70);
  for (let row = 0, at = 0; row < size; row++) {
    for (let column = 0; column < size; column++, at++) {
      const x = frame.bodyX(column, row);
      const y = frame.bodyY(column, row);
      const body = bodyChord(anatomy, x, y);
      if (body === 0) continue;
      const texture = 0.6 * coarse.at(column, row) + 0.3 * medium.at(column, row);
      let sum = body * MU.soft * (1 + 0.02 * texture) + spineAttenuation(anatomy, x, y);
      const air = lungChord(anatomy, x < 0 ? anatomy.lungs[0] : anatomy.lungs[1], x, y, body);
      if (air > 0) {
        const heart = Math.max(ellipsoidChord(anatomy.heart, x, y), ellipsoidChord(anatomy.aorticArch, x, y));
        // The heart displaces the lung: the chord through the lung is shorter where the heart is.
        const aerated = Math.max(0, air - heart * 1.9);
        const density = 1 + 0.05 * texture + 0.05 * fine.at(column, row);
        sum -= aerated * (MU.soft - MU.lung * density);
        lung[at] = aerated;
      }
      sum -= 0.8 * MU.soft * ellipsoidChord(anatomy.stomachAir, x, y);
      for (const breast of anatomy.breasts) sum += MU.soft * moundChord(breast, x, y);
      attenuation[at] = sum;
    }
  }
}

function addVessels(
  frame: Frame,
  seed: number,
  attenuation: Float32Array,
  lung: Float32Array,
  scratch: Float32Array,
): void {
  const random = createRandomSource(seed, 'vessels');
  for (const side of [-1, 1] as const) {
    for (const path of vesselPaths(side, random)) {
      for (const at of drawTube(frame, path, scratch)) {
        attenuation[at] = attenuation[at]! + (MU.soft - MU.lung) * Math.min(scratch[at]!, lung[at]!);
        scratch[at] = 0;
      }
    }
  }
}

function addSkeleton(
  anatomy: Anatomy,
  frame: Frame,
  seed: number,
  attenuation: Float32Array,
  scratch: Float32Array,
): void {
  const random = createRandomSource(seed, 'skeleton');
  for (const side of [-1, 1] as const) {
    for (const path of ribPaths(anatomy, side, random)) addBone(frame, path, attenuation, scratch);
    addBone(frame, claviclePath(anatomy, side, random), attenuation, scratch);
    for (const path of scapulaPaths(anatomy, side, random)) addBone(frame, path, attenuation, scratch);
  }
}

/** Converts line integrals to samples: Beer-Lambert, scatter, detector blur, photon noise, logarithm, 12 bits. */
function expose(attenuation: Float32Array, size: number, exposure: number, seed: number): Uint16Array {
  const signal = new Float32Array(size * size);
  for (let i = 0; i < signal.length; i++) signal[i] = Math.exp(-attenuation[i]!) + SCATTER;
  blur(signal, size, size / 512);
  const random = createRandomSource(seed, 'noise');
  const photons = PHOTONS_PER_PIXEL_512 * (512 / size) ** 2;
  const samples = new Uint16Array(size * size);
  for (let i = 0; i < samples.length; i++) {
    const expected = photons * exposure * signal[i]!;
    // Normal approximation of Poisson counts: every pixel gets hundreds of photons or more, up to a size of 4 x 512.
    const counted = Math.max(1, expected + Math.sqrt(expected) * random.normal());
    const value = VALUE_AT_AIR - VALUE_PER_NEPER * Math.log(counted / photons);
    samples[i] = Math.min(4095, Math.max(0, Math.round(value)));
  }
  return samples;
}

/** Separable three-tap blur in place, with repeated edges: the detector's spread of `sigma` * 0.6 pixels. */
function blur(image: Float32Array, size: number, sigma: number): void {
  const side = Math.min(0.3, 0.18 * sigma);
  const middle = 1 - 2 * side;
  const line = new Float32Array(size);
  for (const [step, next] of [
    [1, size],
    [size, 1],
  ] as const) {
    for (let start = 0; start < size; start++) {
      const from = start * next;
      for (let i = 0; i < size; i++) {
        const before = image[from + Math.max(0, i - 1) * step]!;
        const after = image[from + Math.min(size - 1, i + 1) * step]!;
        line[i] = middle * image[from + i * step]! + side * (before + after);
      }
      for (let i = 0; i < size; i++) image[from + i * step] = line[i]!;
    }
  }
}

function boxOf(mask: Uint8Array, size: number): Box {
  let top = size;
  let left = size;
  let bottom = 0;
  let right = 0;
  for (let at = 0; at < mask.length; at++) {
    if (mask[at] === 0) continue;
    const column = at % size;
    const row = (at - column) / size;
    top = Math.min(top, row);
    bottom = Math.max(bottom, row + 1);
    left = Math.min(left, column);
    right = Math.max(right, column + 1);
  }
  return { top, left, bottom, right };
}
