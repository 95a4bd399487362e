/** Draws a human-readable picture: a frame under its anomaly map, with the colour bar and the note of research use. */
import type { DicomFrameParts } from '../../../../src/dicom/decoder/dicom-file.js';
import type { MapShape } from '../../../../src/imaging/map/anomaly-map.js';
import { drawText, GLYPH, textWidth } from '../../../../src/imaging/map/glyphs.js';
import { legendBelow } from '../../../../src/imaging/map/legend.js';
import { overlayRgb } from '../../../../src/imaging/map/map-drawing.js';
import { drawPicture } from '../../../../src/imaging/map/picture.js';
import type { FrameMap } from '../scoring/frame-map.js';
import { partsOf } from '../scoring/frame-parts.js';

const NOTE = 'research use, not for diagnosis';
const MARGIN = 3;
/** From this width the note has letters of twice the size. */
const WIDE = 400;
const BACKGROUND = 24;
const TEXT = 225;

export interface RgbPicture {
  /** uint8 [rows, columns, 3]. */
  readonly rgb: Uint8Array;
  readonly shape: MapShape;
}

/**
 * The frame in the size of its map, left and right as they are sent: the colours of the map, the contour of the area above
 * the threshold, the colour bar below, the note above. No pixel of the frame is hidden by bar or note.
 */
export async function pictureWithMap(frame: DicomFrameParts, map: FrameMap): Promise<RgbPicture> {
  const shape = { rows: map.rows, columns: map.columns };
  const scale = { from: map.scale[0]!.robustZ, to: map.scale.at(-1)!.robustZ };
  const grey = await reduced(frame, shape);
  const rgb = await overlayRgb({ shape, grey, map: map.above, scale });
  return noteAbove(legendBelow(rgb, shape, map.scale));
}

async function reduced(frame: DicomFrameParts, shape: MapShape): Promise<Uint8Array> {
  const picture = drawPicture(frame.format, shape);
  for await (const { samples } of partsOf(frame)) picture.push(samples);
  return picture.finish();
}

function noteAbove({ rgb, shape }: RgbPicture): RgbPicture {
  const { columns } = shape;
  const size = columns >= WIDE ? 2 : 1;
  const height = size * GLYPH.height + 2 * MARGIN;
  const noted = new Uint8Array(3 * columns * (height + shape.rows)).fill(BACKGROUND, 0, 3 * columns * height);
  const left = Math.floor((columns - size * textWidth(NOTE)) / 2);
  drawText(NOTE, 0, 0, (x, y) => {
    for (let line = 0; line < size; line++) {
      const at = 3 * ((MARGIN + size * y + line) * columns + left + size * x);
      noted.fill(TEXT, at, at + 3 * size);
    }
  });
  noted.set(rgb, 3 * columns * height);
  return { rgb: noted, shape: { rows: shape.rows + height, columns } };
}
