/** What happens to servers and connections during a case of the conformance suite. */
import { createServer, connect as tcpConnect } from 'node:net';
import { setTimeout as after } from 'node:timers/promises';
import { Metadata } from '@grpc/grpc-js';
import type { RunningServer } from '../../../../src/server/server.js';
import type { Credentials } from '../../../support/network/secured.js';
import { startTcpProxy } from '../../../support/network/tcp-proxy.js';
import { connect, header } from '../../../support/protocol/grpc-client.js';
import { SIDE } from '../../../support/servers/small-server.js';
import { image } from './case.js';
import type { KillableServer } from './killable-server.js';

export interface Target {
  readonly address: string;
  readonly credentials: Credentials;
  /** The pipe of a case with a pause. */
  readonly pause?: string;
  /** Waits until the server holds nothing for the client under test. @throws Error where the fault has not come about */
  idle(): Promise<void>;
  close(): Promise<void>;
}

/** Starts a server for one case. */
export type Start = (flags: Readonly<Record<string, unknown>>) => Promise<RunningServer>;

const host = '127.0.0.1';
/** The image of a case has 4,096 bytes. */
const RESET_AFTER_BYTES = 2500;
const REFUSED_CONNECTIONS = 2;
/** The large image has 10 MB, more than the windows of the connection and the buffers beside it. */
const MIDDLE_BYTES = 1_000_000;
/** Longer than any acquisition of a case. */
const GRACE_MS = 60_000;
const RETRY_DELAY_MS = 40;

/** The server behind a TCP hop with a fault of the connection. */
export async function broken(
  fault: 'reset' | 'damaged' | 'refused',
  port: number,
): Promise<Pick<Target, 'address' | 'close'>> {
  if (fault === 'refused') return refusingHop(port);
  if (fault === 'damaged') return damagingHop(port);
  let isReset = false;
  const proxy = await startTcpProxy({ host, port }, (total) => {
    if (isReset || total < RESET_AFTER_BYTES) return;
    isReset = true;
    proxy.reset();
  });
  return proxy;
}

/** Changes one bit, once: any row of the image that arrives in one piece is damaged, whatever frames are around it. */
function damagingHop(port: number): Promise<Pick<Target, 'address' | 'close'>> {
  const rows = Array.from({ length: SIDE }, (_, row) => image.subarray(row * SIDE, (row + 1) * SIDE));
  let isDamaged = false;
  return startTcpProxy({ host, port }, (_total, bytes) => {
    const at = rows.map((row) => bytes.indexOf(row)).find((index) => index >= 0);
    if (isDamaged || at === undefined) return;
    isDamaged = true;
    bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at);
  });
}

async function refusingHop(port: number): Promise<Pick<Target, 'address' | 'close'>> {
  let opened = 0;
  const hop = createServer((client) => {
    opened += 1;
    if (opened <= REFUSED_CONNECTIONS) {
      client.resetAndDestroy();
      return;
    }
    const upstream = tcpConnect({ host, port });
    client.pipe(upstream).pipe(client);
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      socket.on('error', () => {});
      socket.on('close', () => other.destroy());
    }
  });
  await new Promise<void>((resolve) => hop.listen(0, host, resolve));
  const bound = hop.address() as { port: number };
  return {
    address: `${host}:${bound.port}`,
    close: () => new Promise<void>((resolve) => hop.close(() => resolve())),
  };
}

/** Another client has the only acquisition that the server admits. */
export async function held(server: RunningServer, credentials: Credentials): Promise<Target> {
  const release = await holdOne(server, credentials);
  return { address: server.address, credentials, idle: () => untilOpen(server, 1), close: release };
}

/** As `held`, until the server has refused a call. @param onceRefused calls back at the next refusal */
export async function released(
  server: RunningServer,
  credentials: Credentials,
  onceRefused: (listener: () => void) => void,
): Promise<Target> {
  const release = await holdOne(server, credentials);
  let over: Promise<void> | undefined;
  onceRefused(() => {
    over ??= release();
  });
  return {
    address: server.address,
    credentials,
    async idle() {
      if (over === undefined) throw new Error('the server has refused nothing');
      await over;
      await untilOpen(server, 0);
    },
    close: () => over ?? release(),
  };
}

/** The server drains in the middle of the pixels, and has time to finish. */
export async function drained(start: Start): Promise<Target> {
  const server = await start({});
  let stopping: Promise<void> | undefined;
  const hop = await startTcpProxy({ host, port: server.port }, (total) => {
    if (total >= MIDDLE_BYTES && server.registry.budget.open > 0) stopping ??= server.stop(GRACE_MS);
  });
  return {
    address: hop.address,
    credentials: {},
    async idle() {
      if (stopping === undefined) throw new Error('the server has not drained');
      await stopping;
    },
    async close() {
      await hop.close();
      await server.stop(0);
    },
  };
}

/** The server drains, and waits for the acquisition of another client. */
export async function draining(start: Start): Promise<Target> {
  const server = await start({ retryDelayMs: RETRY_DELAY_MS });
  const release = await holdOne(server, {});
  const stopping = server.stop(GRACE_MS);
  return {
    address: server.address,
    credentials: {},
    idle: () => untilOpen(server, 1),
    async close() {
      await release();
      await stopping;
    },
  };
}

/** The server drains without time in the middle of the pixels; another one starts on its address. */
export async function replaced(start: Start): Promise<Target> {
  const first = await start({ retryDelayMs: RETRY_DELAY_MS });
  let next: Promise<RunningServer> | undefined;
  const hop = await startTcpProxy({ host, port: first.port }, (total) => {
    if (total < MIDDLE_BYTES || first.registry.budget.open === 0) return;
    next ??= first.stop(0).then(() => start({ listen: first.address }));
  });
  return {
    address: hop.address,
    credentials: {},
    async idle() {
      if (next === undefined) throw new Error('the server was not replaced');
      await untilOpen(await next, 0);
    },
    async close() {
      await hop.close();
      await (await (next ?? first)).stop(0);
    },
  };
}

/** The process of the server is killed in the middle of the pixels, and starts again on its address. */
export async function killed(server: KillableServer): Promise<Target> {
  let restarted: Promise<void> | undefined;
  const hop = await startTcpProxy({ host, port: server.port }, (total) => {
    if (total >= MIDDLE_BYTES) restarted ??= server.restart();
  });
  return {
    address: hop.address,
    credentials: {},
    async idle() {
      if (restarted === undefined) throw new Error('the server was not killed');
      await restarted;
      await untilZero(() => server.open());
    },
    async close() {
      await hop.close();
      await restarted;
    },
  };
}

export function untilOpen(server: RunningServer, count: number): Promise<void> {
  return untilZero(async () => server.registry.budget.open - count);
}

async function untilZero(excess: () => Promise<number>): Promise<void> {
  const giveUp = performance.now() + 10_000;
  for (;;) {
    const count = await excess();
    if (count === 0) return;
    if (performance.now() > giveUp)
      throw new Error(`the server holds ${count} acquisitions more than it should`);
    await after(5);
  }
}

/** Opens an acquisition and sends no pixels. @returns what ends it */
async function holdOne(server: RunningServer, { apiKey }: Credentials): Promise<() => Promise<void>> {
  const client = connect(server.address);
  const metadata = new Metadata();
  if (apiKey !== undefined) metadata.set('x-api-key', apiKey);
  const call = client.streamAcquisition(metadata);
  call.on('error', () => {});
  call.on('data', () => {});
  call.write({ payload: header() });
  await untilOpen(server, 1);
  return async () => {
    call.cancel();
    await untilOpen(server, 0);
    client.close();
  };
}
