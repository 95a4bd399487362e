/** Limits of request messages, by method. */
import { GRPCInferenceServiceService } from '../gen/inference/grpc_service.js';
import {
  AnomalyScoringService,
  ScoreImageRequest,
  StreamAcquisitionRequest,
} from '../gen/salad/v1/anomaly_scoring.js';
import { decodeInferRequest } from '../oip/infer-request.js';
import { BoundedReader } from './bounded-reader.js';

export interface MethodLimits {
  /** Largest first message, in bytes after decompression. */
  readonly firstMessageBytes: number;
  /** Largest later message, in bytes after decompression. */
  readonly laterMessageBytes: number;
  readonly acceptsCompression: boolean;
  /** Whether a message's memory stays reserved until its handler has processed it, or only until it is decoded. */
  readonly isKeptUntilProcessed: boolean;
  /** Replaces the service's own decoder. @throws SaladError MESSAGE_INVALID, or any error for undecodable bytes */
  readonly decode?: (bytes: Uint8Array, isFirst: boolean) => object;
}

/** Largest header: its look-up table has up to 65,536 entries of up to five bytes, tag included; the rest is short. */
const HEADER_BYTES_MAX = 512 * 1024;
/** A tag and a value for each of 65,536 entries, and 1024 for the rest. */
const HEADER_VARINTS_MAX = 2 * 65_536 + 1024;
/** Tag and length of a tile, and tags, lengths and values of its three fields. */
const VARINTS_PER_TILE = 8;
const OTHER_VARINTS = 64;
/** For 1,024 parameters, tensors and outputs, far more than any request has. The elements of tensors are not counted. */
const INFER_VARINTS_MAX = 8 * 1024;
/** For requests that contain nothing but names. */
const SMALL_MESSAGE_BYTES = 4096;

const SMALL_MESSAGES: MethodLimits = {
  firstMessageBytes: SMALL_MESSAGE_BYTES,
  laterMessageBytes: SMALL_MESSAGE_BYTES,
  acceptsCompression: false,
  isKeptUntilProcessed: false,
};

export interface ScoringLimits {
  /** Largest request message of the scoring methods. */
  readonly maxMessageBytes: number;
  /** Tiles of the model that has the most; it changes as models are loaded. */
  readonly maxTiles: () => number;
}

/**
 * Health, the registry and reflection accept small messages only; so does every method that is not listed here.
 * @returns the limits of a method, by its path
 */
export function createMethodLimits({
  maxMessageBytes,
  maxTiles,
}: ScoringLimits): (path: string) => MethodLimits {
  const tileVarints = () => VARINTS_PER_TILE * maxTiles() + OTHER_VARINTS;
  const inferMethod: MethodLimits = {
    firstMessageBytes: maxMessageBytes,
    laterMessageBytes: maxMessageBytes,
    acceptsCompression: true,
    isKeptUntilProcessed: true,
    decode: (bytes) => decodeInferRequest(new BoundedReader(bytes, INFER_VARINTS_MAX)),
  };
  const scoringMethods: Readonly<Record<string, MethodLimits>> = {
    [AnomalyScoringService.streamAcquisition.path]: {
      firstMessageBytes: Math.min(HEADER_BYTES_MAX, maxMessageBytes),
      laterMessageBytes: maxMessageBytes,
      acceptsCompression: true,
      isKeptUntilProcessed: true,
      decode: (bytes, isFirst) =>
        StreamAcquisitionRequest.decode(
          new BoundedReader(bytes, isFirst ? HEADER_VARINTS_MAX : tileVarints()),
        ),
    },
    [AnomalyScoringService.scoreImage.path]: {
      firstMessageBytes: maxMessageBytes,
      laterMessageBytes: maxMessageBytes,
      acceptsCompression: true,
      isKeptUntilProcessed: true,
      decode: (bytes) => ScoreImageRequest.decode(new BoundedReader(bytes, HEADER_VARINTS_MAX)),
    },
    [GRPCInferenceServiceService.modelInfer.path]: inferMethod,
    [GRPCInferenceServiceService.modelStreamInfer.path]: inferMethod,
  };
  return (path) => scoringMethods[path] ?? SMALL_MESSAGES;
}
