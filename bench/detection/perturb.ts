/** Deterministic changes of a radiograph that another X-ray room or device would cause. */
import sharp, { type Sharp } from 'sharp';
import { createRandom } from '../../src/util/random.js';

/** Reads a grey image file; returns an 8-bit PNG or JPEG. */
export type Perturbation = (file: string) => Promise<Buffer>;

const grey = (file: string): Sharp => sharp(file).toColourspace('b-w');

/** Multiplies the grey levels by `gain`, like another exposure under the same window. */
const exposure =
  (gain: number): Perturbation =>
  (file) =>
    grey(file).linear(gain, 0).png().toBuffer();

/** Shifts right and down by a share of the width, with the border pixels repeated. */
const shift =
  (share: number): Perturbation =>
  async (file) => {
    const { width, height } = await sharp(file).metadata();
    const offset = Math.round(share * width);
    const left = Math.max(0, offset);
    const right = Math.max(0, -offset);
    const extended = await grey(file)
      .extend({ left, right, top: left, bottom: right, extendWith: 'copy' })
      .png()
      .toBuffer();
    return sharp(extended).extract({ left: right, top: right, width, height }).png().toBuffer();
  };

/** Magnifies around the centre and crops to the original size. */
const magnify =
  (factor: number): Perturbation =>
  async (file) => {
    const { width, height } = await sharp(file).metadata();
    const size = { width: Math.round(width * factor), height: Math.round(height * factor) };
    const enlarged = await grey(file).resize(size.width, size.height, { fit: 'fill' }).png().toBuffer();
    const left = Math.floor((size.width - width) / 2);
    const top = Math.floor((size.height - height) / 2);
    return sharp(enlarged).extract({ left, top, width, height }).png().toBuffer();
  };

/** Adds white noise; its standard deviation is a share of the full scale. */
const noise =
  (share: number): Perturbation =>
  async (file) => {
    const { data, info } = await grey(file).raw().toBuffer({ resolveWithObject: true });
    const random = createRandom(data.length);
    // The sum of twelve uniform numbers minus six is nearly normal with variance 1.
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

/** Position and side of the marker as shares of the image. */
const MARKER = { left: 0.08, top: 0.08, side: 1 / 16 } as const;

/** Draws a white letter R, like the lead markers that technologists place next to the shoulder. */
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

/** The mask of the marker: white inside its box, black elsewhere. */
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
