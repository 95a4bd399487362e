/** The way down: nobody new, everybody who is here to the end, then the door. */
import type { Server } from '@grpc/grpc-js';
import type { CallTracker } from './handlers/call-tracker.js';
import type { Health } from './health.js';

/** For connections that stay open after the drain; their streams are over. */
const CLOSE_TIMEOUT_MS = 1000;
/** How often connections made during the drain are told to go, too. */
const GOAWAY_EVERY_MS = 500;

/**
 * From the first moment health says NOT_SERVING, new acquisitions are refused as DRAINING and every connection gets
 * a GOAWAY, upon which clients open no further stream on it and connect anew: through a load balancer, to another
 * server. Running acquisitions have `graceMs`. The port stays open meanwhile: whoever comes back here all the same
 * gets a clear UNAVAILABLE with a delay instead of a refused connection, and probes an answer.
 * @param address HOST:PORT as bound
 */
export async function drain(
  server: Server,
  address: string,
  calls: CallTracker,
  health: Health,
  graceMs: number,
): Promise<void> {
  health.set('NOT_SERVING');
  // Its own time-out must not come before the calls got their status.
  const sendAway = () => server.drain(address, graceMs + CLOSE_TIMEOUT_MS);
  const timer = setInterval(sendAway, GOAWAY_EVERY_MS);
  const drained = calls.drain(graceMs);
  sendAway();
  await drained;
  clearInterval(timer);
  await close(server);
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      server.forceShutdown();
      resolve();
    }, CLOSE_TIMEOUT_MS);
    server.tryShutdown(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}
