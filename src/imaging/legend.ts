/** Draws the colour bar of an anomaly map below its picture. */
import type { MapShape } from './anomaly-map.js';
import { CONTOUR, type ColourStop } from './colour-scale.js';
import { drawText, textWidth } from './glyphs.js';

/** Smallest width in pixels: the labels of the bar must not touch. */
const WIDTH_MIN = 256;
const HEIGHT = 44;
const BAR = { margin: 10, top: 4, height: 6 } as const;
const LABEL_TOP = { robustZ: 15, share: 24, caption: 34 } as const;
/** What the second line of labels counts: `p` would read as the p-value of the image, which is another share. */
const CAPTION = '% of normal patches that reach z';
/** Labelled values of the bar, its ends included. */
const TICKS = 4;
const BACKGROUND = 24;
const TEXT = 225;
/** Grey level under the colours of the bar: a middle grey, as in pictures. */
const UNDER_BAR = 106;

type Rgb = readonly [red: number, green: number, blue: number];

class Canvas {
  readonly rgb: Uint8Array;

  constructor(readonly shape: MapShape) {
    this.rgb = new Uint8Array(shape.rows * shape.columns * 3).fill(BACKGROUND);
  }

  paint(x: number, y: number, rgb: Rgb): void {
    this.rgb.set(rgb, 3 * (y * this.shape.columns + x));
  }

  /** Writes a text centred at x, moved inwards where it would cross the edge. */
  write(text: string, x: number, y: number): void {
    const width = textWidth(text);
    const left = Math.round(Math.min(this.shape.columns - width - 2, Math.max(2, x - width / 2)));
    drawText(text, left, y, (atX, atY) => this.paint(atX, atY, [TEXT, TEXT, TEXT]));
  }
}

/** Colour at a share of the bar, linear between evenly spaced stops, over UNDER_BAR. */
function barColour(stops: readonly ColourStop[], share: number): Rgb {
  const position = share * (stops.length - 1);
  const index = Math.min(stops.length - 2, Math.floor(position));
  const [below, above] = [stops[index]!, stops[index + 1]!];
  const part = position - index;
  const mix = (of: (stop: ColourStop) => number): number => of(below) + part * (of(above) - of(below));
  const opacity = mix((stop) => stop.opacity);
  const over = (of: (stop: ColourStop) => number): number =>
    Math.round(UNDER_BAR + opacity * (mix(of) - UNDER_BAR));
  return [over(({ red }) => red), over(({ green }) => green), over(({ blue }) => blue)];
}

/** Formats a share such as 4.8%, with at most two digits, and never as 0. */
function shownShare(share: number): string {
  return `${Number((100 * share).toPrecision(2))}%`;
}

function drawBar(canvas: Canvas, top: number, stops: readonly ColourStop[]): void {
  const length = canvas.shape.columns - 2 * BAR.margin;
  for (let x = 0; x < length; x++) {
    const rgb = barColour(stops, x / (length - 1));
    for (let y = 0; y < BAR.height; y++) canvas.paint(BAR.margin + x, top + BAR.top + y, rgb);
  }
  // The threshold, in the colour of the contour.
  for (let y = -3; y < BAR.height + 3; y++) {
    for (const x of [-2, -1]) {
      canvas.paint(BAR.margin + x, top + BAR.top + y, [CONTOUR.red, CONTOUR.green, CONTOUR.blue]);
    }
  }
  for (let tick = 0; tick < TICKS; tick++) {
    const index = Math.round((tick * (stops.length - 1)) / (TICKS - 1));
    const stop = stops[index]!;
    const x = BAR.margin + Math.round((index / (stops.length - 1)) * (length - 1));
    for (let y = 0; y < 3; y++) canvas.paint(x, top + BAR.top + BAR.height + y, [TEXT, TEXT, TEXT]);
    canvas.write(`z ${stop.robustZ.toFixed(1)}`, x, top + LABEL_TOP.robustZ);
    canvas.write(shownShare(stop.pValue), x, top + LABEL_TOP.share);
  }
  canvas.write(CAPTION, canvas.shape.columns / 2, top + LABEL_TOP.caption);
}

/**
 * Adds the colour bar below a picture. The picture is unchanged in the upper left corner; the result is 44 rows higher, and
 * 256 columns wide where the picture is narrower.
 * @param rgb uint8 [rows, columns, 3]
 * @param stops ascending and evenly spaced, the first at the threshold, at least two
 */
export function legendBelow(
  rgb: Uint8Array,
  { rows, columns }: MapShape,
  stops: readonly ColourStop[],
): { readonly rgb: Uint8Array; readonly shape: MapShape } {
  const canvas = new Canvas({ rows: rows + HEIGHT, columns: Math.max(columns, WIDTH_MIN) });
  for (let row = 0; row < rows; row++) {
    const line = rgb.subarray(3 * row * columns, 3 * (row + 1) * columns);
    canvas.rgb.set(line, 3 * row * canvas.shape.columns);
  }
  drawBar(canvas, rows, stops);
  return { rgb: canvas.rgb, shape: canvas.shape };
}
