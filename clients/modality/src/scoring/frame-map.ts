/** The anomaly map of a frame, as it is kept until every destination has what is drawn from it. */
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import type { AcquisitionAggregate } from '../../../typescript/src/index.js';
import type { StoredMap } from '../inbox/instance.js';

export interface FrameMap {
  /** From 1. */
  readonly frame: number;
  /** Those of the image, or smaller with the same aspect ratio, as the server sends it. */
  readonly rows: number;
  readonly columns: number;
  /** Colours in evenly spaced robust z, ascending; the first is that of the threshold. */
  readonly scale: readonly ColourStop[];
  /** Robust z [rows, columns] where it is above the threshold, else NaN. */
  readonly above: Float32Array;
}

/** As `AnomalyMap.scale` of salad.v1. */
export interface ColourStop {
  readonly robustZ: number;
  readonly pValue: number;
  readonly red: number;
  readonly green: number;
  readonly blue: number;
  readonly opacity: number;
}

/**
 * @param map in FLOAT32
 * @returns undefined where the server sent no map of the source image: nothing was scored, or it is too old
 */
export function storedMapOf(frame: number, map: AcquisitionAggregate['anomalyMap']): StoredMap | undefined {
  if (map?.mapToSource === undefined || map.scale.length < 2) return undefined;
  const { rows, columns, data, scale } = map;
  const threshold = scale[0]!.robustZ;
  // A copy, because the bytes of a message may start where a float32 cannot.
  const above = new Float32Array(new Uint8Array(data).buffer);
  // What is not above the threshold is one value, so that the map of a normal image takes a few bytes.
  for (let at = 0; at < above.length; at++) if (!(above[at]! > threshold)) above[at] = Number.NaN;
  return { frame, rows, columns, scale: JSON.stringify(scale), data: deflateRawSync(above) };
}

/** The inverse of `storedMapOf`. */
export function frameMapOf({ frame, rows, columns, scale, data }: StoredMap): FrameMap {
  const values = inflateRawSync(data, { maxOutputLength: 4 * rows * columns });
  const above = new Float32Array(new Uint8Array(values).buffer);
  return { frame, rows, columns, scale: JSON.parse(scale) as ColourStop[], above };
}

/** Whether anything of the frame lies above the threshold. */
export function isAbove({ above }: FrameMap): boolean {
  return above.some((z) => !Number.isNaN(z));
}
