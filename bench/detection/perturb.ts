/** What happens to a radiograph between two rooms: each change as a function from file to file, deterministic. */
import sharp, { type Sharp } from 'sharp';
import { createRandom } from '../../src/util/random.js';

/** 8-bit grey PNG in, PNG or JPEG out. */
export type Perturbation = (file: string) => Promise<Buffer>;

const grey = (file: string): Sharp => sharp(file).toColourspace('b-w');

/** Grey levels times `gain`, as a window shifted by the exposure would show them. */
const exposure =
  (gain: number): Perturbation =>
  (file) =>
    grey(file).linear(gain, 0).png().toBuffer();

/** Shifts by a share of the side; the border is repeated. */
const shift =
  (share: number): Perturbation =>
  async (file) => {
    const { width, height } = await sharp(file).metadata();
    const by = Math.round(share * width);
    const left = Math.max(0, by);
    const right = Math.max(0, -by);
    const grown = await grey(file)
      .extend({ left, right, top: left, bottom: right, extendWith: 'copy' })
      .png()
      .toBuffer();
    return sharp(grown).extract({ left: right, top: right, width, height }).png().toBuffer();
  };

/** Magnifies about the centre, and crops. */
const magnify =
  (factor: number): Perturbation =>
  async (file) => {
    const { width, height } = await sharp(file).metadata();
    const size = { width: Math.round(width * factor), height: Math.round(height * factor) };
    const grown = await grey(file).resize(size.width, size.height, { fit: 'fill' }).png().toBuffer();
    const left = Math.floor((size.width - width) / 2);
    const top = Math.floor((size.height - height) / 2);
    return sharp(grown).extract({ left, top, width, height }).png().toBuffer();
  };

/** White noise with a standard deviation of a share of the full scale. */
const noise =
  (share: number): Perturbation =>
  async (file) => {
    const { data, info } = await grey(file).raw().toBuffer({ resolveWithObject: true });
    const random = createRandom(data.length);
    // Twelve uniform numbers less six: nearly normal, variance 1.
    const normal = () => Array.from({ length: 12 }, random).reduce((sum, value) => sum + value, -6);
    const noisy = Uint8Array.from(data, (value) =>
      Math.max(0, Math.min(255, Math.round(value + 255 * share * normal()))),
    );
    const { width, height, channels } = info;
    return sharp(noisy, { raw: { width, height, channels } }).png().toBuffer();
  };

const jpeg =
  (quality: number): Perturbation =>
  (file) =>
    grey(file).jpeg({ quality }).toBuffer();

/** A lead letter, as technologists put beside the shoulder: a sixteenth of the image high, white. */
const MARKER = { left: 0.08, top: 0.08, side: 1 / 16 } as const;
export const marker: Perturbation = async (file) => {
  const { width, height } = await sharp(file).metadata();
  const side = MARKER.side * height;
  const letter = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">
    <path transform="translate(${MARKER.left * width} ${MARKER.top * height}) scale(${side})"
      stroke="white" stroke-width="0.16" fill="none"
      d="M0.1 1V0.08H0.5a0.27 0.27 0 0 1 0 0.54H0.1M0.5 0.62L0.85 1"/>
    </svg>`;
  return grey(file)
    .composite([{ input: Buffer.from(letter) }])
    .toColourspace('b-w')
    .png()
    .toBuffer();
};

/** Where `marker` writes: white there, black elsewhere. */
export const markerMask: Perturbation = async (file) => {
  const { width, height } = await sharp(file).metadata();
  const side = Math.ceil(MARKER.side * height);
  const box = await sharp({ create: { width: side, height: side, channels: 3, background: 'white' } })
    .png()
    .toBuffer();
  const at = { left: Math.floor(MARKER.left * width), top: Math.floor(MARKER.top * height) };
  return sharp({ create: { width, height, channels: 3, background: 'black' } })
    .composite([{ input: box, ...at }])
    .toColourspace('b-w')
    .png()
    .toBuffer();
};

export const PERTURBATIONS: Readonly<Record<string, Perturbation>> = {
  'exposure +10 %': exposure(1.1),
  'exposure -10 %': exposure(0.9),
  'noise 1 %': noise(0.01),
  'shift +2 %': shift(0.02),
  'shift -2 %': shift(-0.02),
  'magnified 2 %': magnify(1.02),
  'JPEG 75': jpeg(75),
  marker,
};
