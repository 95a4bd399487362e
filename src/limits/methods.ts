/** What a request message of each method may be. */
import {
  AnomalyScoringService,
  ScoreImageRequest,
  StreamAcquisitionRequest,
} from '../gen/salad/v1/anomaly_scoring.js';
import { BoundedReader } from './bounded-reader.js';

export interface MethodLimits {
  /** Bytes of the first message, and of each later one, after decompression. */
  readonly firstBytes: number;
  readonly laterBytes: number;
  readonly compression: boolean;
  /** A message has its room until its handler has taken it in, or the call is over; else until it is decoded. */
  readonly isKept: boolean;
  /** In place of the service's own decoder. @throws SaladError MESSAGE_INVALID, or any error for bytes that are no message */
  readonly decode?: (bytes: Uint8Array, isFirst: boolean) => object;
}

/** A header: the longest look-up table has 65,536 entries of up to five bytes with their tags; all else is short. */
const HEADER_BYTES_MAX = 512 * 1024;
/** As many entries with a tag each, and all else. */
const HEADER_PARTS_MAX = 2 * 65_536 + 1024;
/** Tag and length of a tile, and its three fields. */
const PARTS_PER_TILE = 8;
const OTHER_PARTS = 64;
/** Names and nothing else. */
const SMALL_BYTES_MAX = 4096;

const SMALL: MethodLimits = {
  firstBytes: SMALL_BYTES_MAX,
  laterBytes: SMALL_BYTES_MAX,
  compression: false,
  isKept: false,
};

export interface MethodOptions {
  /** Largest request message of the scoring methods. */
  readonly maxMessageBytes: number;
  /** Tiles of the largest model. */
  readonly maxTiles: number;
}

/** Health, the registry and reflection take small messages; so does what may be added one day. */
export function limitsOfMethods({
  maxMessageBytes,
  maxTiles,
}: MethodOptions): (path: string) => MethodLimits {
  const tileParts = PARTS_PER_TILE * maxTiles + OTHER_PARTS;
  const scoring: Readonly<Record<string, MethodLimits>> = {
    [AnomalyScoringService.streamAcquisition.path]: {
      firstBytes: Math.min(HEADER_BYTES_MAX, maxMessageBytes),
      laterBytes: maxMessageBytes,
      compression: true,
      isKept: true,
      decode: (bytes, isFirst) =>
        StreamAcquisitionRequest.decode(new BoundedReader(bytes, isFirst ? HEADER_PARTS_MAX : tileParts)),
    },
    [AnomalyScoringService.scoreImage.path]: {
      firstBytes: maxMessageBytes,
      laterBytes: maxMessageBytes,
      compression: true,
      isKept: true,
      decode: (bytes) => ScoreImageRequest.decode(new BoundedReader(bytes, HEADER_PARTS_MAX)),
    },
  };
  return (path) => scoring[path] ?? SMALL;
}
