/** Stops a server: new calls are refused, running acquisitions finish, then all connections are closed. */
import { setTimeout as sleep } from 'node:timers/promises';
import { SaladError } from '../errors/index.js';
import type { CallTracker } from './handlers/call-tracker.js';
import type { OpenCalls } from './handlers/open-calls.js';
import type { Health } from './health.js';
import type { Connections } from './http2/connections.js';

/** Longest wait for calls and connections to end by themselves; after it they are closed by force. */
const CLOSE_TIMEOUT_MS = 1000;

export interface DrainParts {
  readonly connections: Connections;
  /** The scoring calls. */
  readonly calls: CallTracker;
  /** All other calls. */
  readonly openCalls: OpenCalls;
  readonly health: Health;
  /** Called when the calls have ended: stops listening, which may wait for other processes. */
  readonly stopListening: () => void | Promise<void>;
}

/**
 * First, health reports NOT_SERVING, new acquisitions are refused with DRAINING, and every connection gets GOAWAY.
 * After GOAWAY clients open no further stream on the connection and connect again: through a load balancer, to another
 * server. Running acquisitions have `graceMs` to finish. The port stays open until then: a client that connects to this
 * server again gets UNAVAILABLE with a retry delay instead of a refused connection, and probes get an answer. Then all
 * other calls end, and all connections are closed, by force where a client does not close them.
 */
export async function drain(parts: DrainParts, graceMs: number): Promise<void> {
  const { connections, calls, openCalls, health, stopListening } = parts;
  health.set('NOT_SERVING');
  connections.drain();
  await Promise.race([
    calls.drain(graceMs),
    // A handler may be busy with work that cannot be interrupted, such as decoding a large image.
    sleep(graceMs + CLOSE_TIMEOUT_MS, undefined, { ref: false }),
  ]);
  await stopListening();
  openCalls.endOthers(new SaladError('DRAINING', 'the server is shutting down'));
  await connections.close(CLOSE_TIMEOUT_MS);
}
