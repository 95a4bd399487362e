/**
 * The formula of docs/explanation/memory.md: the memory that a server may use in addition to that of the idle,
 * warmed-up server, in bytes.
 */
import { answerBytes } from '../../../src/acquisition/answer-bytes.js';
import { acquisitionBytes } from '../../../src/acquisition/footprint.js';
import type { AcquisitionOptions } from '../../../src/acquisition/types.js';
import type { Bundle } from '../../../src/bundle/bundle.js';
import type { ServeConfig } from '../../../src/config/schema.js';
import { AnomalyMapFormat } from '../../../src/gen/salad/v1/types.js';
import { defaultPixelFormat } from '../../../src/imaging/pixel-format/pixel-format.js';

const KIB = 1024;
const MIB = 1024 * KIB;

/** HTTP/2 session, header tables, read buffers. */
const CONNECTION_BYTES = 256 * KIB;
/** Call objects, and the smallest receive window. */
const CALL_BYTES = 64 * KIB;
/** Receive windows of all streams together. */
const WINDOWS_BYTES = 128 * MIB;
/** Garbage that was not collected, and free memory that V8 and the allocator keep. */
export const GARBAGE_BYTES = 128 * MIB;

export interface MemoryUse {
  readonly connections: number;
  readonly calls: number;
  /** Bytes of request messages that are received, decoded or waiting, and of receive windows. */
  readonly received: number;
  /** Bytes reserved by acquisitions with their answers, and by images that are being decoded. */
  readonly reserved: number;
}

export function allowedBytes({ connections, calls, received, reserved }: MemoryUse): number {
  return connections * CONNECTION_BYTES + calls * CALL_BYTES + received + reserved + GARBAGE_BYTES;
}

/** Options that request every kind of answer. */
export const ALL_ANSWERS = {
  options: {
    embeddings: true,
    nearestPrototypes: 3,
    anomalyMap: AnomalyMapFormat.ANOMALY_MAP_FORMAT_FLOAT32,
  },
};

interface ReservedImage {
  readonly rows: number;
  readonly columns: number;
  readonly bits: 8 | 16;
  /** Whether it requests ALL_ANSWERS. @default false */
  readonly all?: boolean;
}

/** Bytes that an acquisition reserves, its answers included. */
export function reservedBytes(bundle: Bundle, { rows, columns, bits, all = false }: ReservedImage): number {
  const options: AcquisitionOptions = {
    patchScores: true,
    anomalyMap: all ? 'float32' : 'none',
    embeddings: all,
    nearestPrototypes: all ? 3 : 0,
    maxFalsePositiveRate: 0.05,
    earlyEnd: 'fail',
    topPatches: 5,
  };
  const format = defaultPixelFormat(rows, columns, bits);
  const image = acquisitionBytes(bundle, { format, source: 'rows', options });
  return image + answerBytes(bundle, { format, options });
}

type Limits = Pick<
  ServeConfig,
  | 'maxConnections'
  | 'maxConcurrentAcquisitions'
  | 'maxReceivedBytes'
  | 'maxMessageBytes'
  | 'maxAcquisitionBytes'
>;

/** The maximum, whatever all clients together do. */
export function mostBytes(config: Limits): number {
  const { maxConnections, maxConcurrentAcquisitions, maxReceivedBytes, maxMessageBytes } = config;
  return allowedBytes({
    connections: maxConnections,
    // Scoring calls, and all others.
    calls: maxConcurrentAcquisitions + maxConnections,
    // Two decompressed messages at once are concatenated from their buffers.
    received: Math.max(maxReceivedBytes, maxMessageBytes) + WINDOWS_BYTES + 2 * maxMessageBytes,
    reserved: config.maxAcquisitionBytes,
  });
}

/** RSS of the process that hands connections to several others. */
export const FIRST_PROCESS_BYTES = 200 * MIB;
