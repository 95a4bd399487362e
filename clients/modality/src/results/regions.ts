/** The regions that a result names: the highest patches of a frame that differs from normal images. */
import type { FrameResult } from '../scoring/score-instance.js';

type Region = FrameResult['topPatches'][number];

export function regionsOf({ decision, topPatches }: FrameResult): readonly Region[] {
  return decision === 'anomalous' ? topPatches : [];
}

/** Columns, then rows; the first corner again at the end closes the polygon. */
export function cornersOf({ top, left, bottom, right }: Region['box']) {
  return [
    [left, top],
    [right, top],
    [right, bottom],
    [left, bottom],
    [left, top],
  ] as const;
}
