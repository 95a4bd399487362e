/**
 * Writes numbers into a picture with a built-in bitmap font: SVG text would need fonts of the system, which containers
 * often lack.
 */

export const GLYPH = { width: 5, height: 7, advance: 6 } as const;

/** Rows of 5 pixels from top to bottom, the highest bit left. */
const ROWS: Readonly<Record<string, readonly number[]>> = {
  '0': [14, 17, 19, 21, 25, 17, 14],
  '1': [4, 12, 4, 4, 4, 4, 14],
  '2': [14, 17, 1, 2, 4, 8, 31],
  '3': [31, 2, 4, 2, 1, 17, 14],
  '4': [2, 6, 10, 18, 31, 2, 2],
  '5': [31, 16, 30, 1, 1, 17, 14],
  '6': [6, 8, 16, 30, 17, 17, 14],
  '7': [31, 1, 2, 4, 8, 8, 8],
  '8': [14, 17, 17, 14, 17, 17, 14],
  '9': [14, 17, 17, 15, 1, 2, 12],
  '.': [0, 0, 0, 0, 0, 12, 12],
  '-': [0, 0, 0, 31, 0, 0, 0],
  ',': [0, 0, 0, 0, 12, 4, 8],
  '%': [24, 25, 2, 4, 8, 19, 3],
  a: [0, 0, 14, 1, 15, 17, 15],
  c: [0, 0, 14, 16, 16, 17, 14],
  d: [1, 1, 13, 19, 17, 17, 15],
  e: [0, 0, 14, 17, 31, 16, 14],
  f: [6, 9, 8, 28, 8, 8, 8],
  g: [0, 0, 15, 17, 15, 1, 14],
  h: [16, 16, 22, 25, 17, 17, 17],
  i: [4, 0, 12, 4, 4, 4, 14],
  l: [12, 4, 4, 4, 4, 4, 14],
  m: [0, 0, 26, 21, 21, 17, 17],
  n: [0, 0, 22, 25, 17, 17, 17],
  o: [0, 0, 14, 17, 17, 17, 14],
  p: [0, 0, 30, 17, 30, 16, 16],
  r: [0, 0, 22, 25, 16, 16, 16],
  s: [0, 0, 14, 16, 14, 1, 30],
  t: [8, 8, 28, 8, 8, 9, 6],
  u: [0, 0, 17, 17, 17, 19, 13],
  z: [0, 0, 31, 2, 4, 8, 31],
  ' ': [0, 0, 0, 0, 0, 0, 0],
};

/** Width of a text in pixels at scale 1. */
export function textWidth(text: string): number {
  return Math.max(0, text.length * GLYPH.advance - 1);
}

/**
 * Calls `paint` for every pixel of a text.
 * @param text of the characters 0-9 . , - % a c d e f g h i l m n o p r s t u z and space
 * @throws RangeError for another character
 */
export function drawText(
  text: string,
  left: number,
  top: number,
  paint: (x: number, y: number) => void,
): void {
  for (const [index, character] of [...text].entries()) {
    const rows = ROWS[character];
    if (rows === undefined) throw new RangeError(`no glyph for "${character}"`);
    for (const [y, bits] of rows.entries()) {
      for (let x = 0; x < GLYPH.width; x++) {
        if ((bits >> (GLYPH.width - 1 - x)) & 1) paint(left + index * GLYPH.advance + x, top + y);
      }
    }
  }
}
