/** The end of a server: new calls are refused, running ones finish, then all connections are closed. */
import { setTimeout as sleep } from 'node:timers/promises';
import { SaladError } from '../errors/index.js';
import type { CallTracker } from './handlers/call-tracker.js';
import type { OpenCalls } from './handlers/open-calls.js';
import type { Health } from './health.js';
import type { Connections } from './http2/connection-limits.js';

/** For calls and connections that do not end at once when they are told to. */
const CLOSE_TIMEOUT_MS = 1000;

export interface DrainParts {
  readonly connections: Connections;
  /** Acquisitions. */
  readonly calls: CallTracker;
  /** All other calls. */
  readonly openCalls: OpenCalls;
  readonly health: Health;
  /** Stops listening. */
  readonly stopListening: () => void;
}

/**
 * From the first moment health says NOT_SERVING, new acquisitions are refused as DRAINING and every connection gets
 * a GOAWAY, upon which clients open no further stream on it and connect anew: through a load balancer, to another
 * server. Running acquisitions have `graceMs`. The port stays open meanwhile: a client that comes back here all the
 * same gets UNAVAILABLE with a retry delay instead of a refused connection, and probes get an answer. Then the other
 * calls end, and all connections are closed, by force where a client does not close them.
 */
export async function drain(parts: DrainParts, graceMs: number): Promise<void> {
  const { connections, calls, openCalls, health, stopListening } = parts;
  health.set('NOT_SERVING');
  connections.drain();
  await Promise.race([
    calls.drain(graceMs),
    // A handler may be in work that cannot be interrupted, such as decoding a large image.
    sleep(graceMs + CLOSE_TIMEOUT_MS, undefined, { ref: false }),
  ]);
  stopListening();
  openCalls.endOthers(new SaladError('DRAINING', 'the server is shutting down'));
  await connections.close(CLOSE_TIMEOUT_MS);
}
