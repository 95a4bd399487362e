/** The formula of docs/explanation/memory.md: how much memory a server may take above what it has when it is warm and idle. */
import type { ServeConfig } from '../../src/config/schema.js';

const KIB = 1024;
const MIB = 1024 * KIB;

/** HTTP/2 session, header tables, read buffers. */
const CONNECTION_BYTES = 256 * KIB;
/** Call objects, and the smallest receive window. */
const CALL_BYTES = 64 * KIB;
/** Receive windows of all streams together. */
const WINDOWS_BYTES = 128 * MIB;
/** Not collected yet, or kept by V8 and the allocator for the next. */
export const GARBAGE_BYTES = 128 * MIB;

export interface Held {
  readonly connections: number;
  readonly calls: number;
  /** Request messages that come, are decoded or wait; receive windows included. */
  readonly received: number;
  /** Reserved by acquisitions, their answers included, and by images being decoded. */
  readonly reserved: number;
}

export function allowedBytes({ connections, calls, received, reserved }: Held): number {
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

/** Whatever all clients together do. */
export function mostBytes(config: Limits): number {
  const { maxConnections, maxConcurrentAcquisitions, maxReceivedBytes, maxMessageBytes } = config;
  return allowedBytes({
    connections: maxConnections,
    // Scoring, and all others.
    calls: maxConcurrentAcquisitions + maxConnections,
    // Two compressed messages at once are put together out of their parts.
    received: Math.max(maxReceivedBytes, maxMessageBytes) + WINDOWS_BYTES + 2 * maxMessageBytes,
    reserved: config.maxAcquisitionBytes,
  });
}
