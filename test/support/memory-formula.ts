/**
 * The formula of docs/explanation/memory.md: the memory that a server may use in addition to that of the idle,
 * warmed-up server, in bytes.
 */
import type { ServeConfig } from '../../src/config/schema.js';
import { configOfProcess } from '../../src/server/processes/division.js';

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

/** The maximum of several processes together, in addition to that of the idle ones. */
export function mostBytesOfAll(config: ServeConfig, count: number): number {
  const parts = Array.from({ length: count }, (_, index) => mostBytes(configOfProcess(config, index, count)));
  return parts.reduce((sum, bytes) => sum + bytes, 0);
}
