/** JPEG files written by hand (ITU-T T.81): blocks of one value each, so that what they decode to is known. */

export interface FlatJpeg {
  /** Stored value of each component: 1, 3 or 4 of them. */
  readonly values: readonly number[];
  /** Adobe's marker: the components are not transformed, and four components are inverted CMYK. */
  readonly adobe?: boolean;
}

/** 8 x 8 pixels, baseline. */
export function flatJpeg({ values, adobe = false }: FlatJpeg): Buffer {
  const components = values.map((_, i) => i + 1);
  return Buffer.concat([
    Buffer.from('ffd8', 'hex'),
    adobe ? segment(0xee, [...Buffer.from('Adobe'), 0, 100, 0, 0, 0, 0, 0]) : Buffer.alloc(0),
    // Steps of 8: a DC coefficient is then the value less 128.
    segment(0xdb, [0, ...new Array(64).fill(8)]),
    segment(0xc0, [8, 0, 8, 0, 8, values.length, ...components.flatMap((id) => [id, 0x11, 0])]),
    // Twelve categories with codes of four bits; one symbol, the end of a block, with a code of one bit.
    segment(0xc4, [0x00, 0, 0, 0, 12, ...new Array(12).fill(0), ...new Array(12).keys()]),
    segment(0xc4, [0x10, 1, ...new Array(15).fill(0), 0]),
    segment(0xda, [values.length, ...components.flatMap((id) => [id, 0]), 0, 63, 0]),
    scan(values),
    Buffer.from('ffd9', 'hex'),
  ]);
}

function segment(marker: number, body: readonly number[]): Buffer {
  const length = body.length + 2;
  return Buffer.from([0xff, marker, length >> 8, length & 255, ...body]);
}

function scan(values: readonly number[]): Buffer {
  const bits = values.map((value) => {
    const difference = value - 128;
    const category = difference === 0 ? 0 : Math.floor(Math.log2(Math.abs(difference))) + 1;
    const amount = difference < 0 ? difference + 2 ** category - 1 : difference;
    const code = category.toString(2).padStart(4, '0');
    return `${code}${category === 0 ? '' : amount.toString(2).padStart(category, '0')}0`;
  });
  const padded = bits.join('').padEnd(8 * Math.ceil(bits.join('').length / 8), '1');
  const bytes = padded.match(/.{8}/g)!.map((byte) => Number.parseInt(byte, 2));
  return Buffer.from(bytes.flatMap((byte) => (byte === 0xff ? [0xff, 0] : [byte])));
}
