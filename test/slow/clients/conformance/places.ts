/** The servers that the cases of the conformance suite meet, and what happens to their connections. */
import { createServer, connect as tcpConnect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as after } from 'node:timers/promises';
import type { RunningServer } from '../../../../src/server/server.js';
import { connect, header } from '../../../support/grpc-client.js';
import { type Credentials, secure } from '../../../support/secured.js';
import { writeSmallBundle } from '../../../support/small-bundle.js';
import { startSmall } from '../../../support/small-server.js';
import { startTcpProxy } from '../../../support/tcp-proxy.js';
import type { Fault, Place } from './case.js';
import { startNewerServer } from './newer-server.js';

export interface Target {
  readonly address: string;
  readonly credentials: Credentials;
  /** Waits until the server holds nothing for any client. */
  idle(): Promise<void>;
  close(): Promise<void>;
}

const NOTHING = { tls: false, apiKeys: false, tokens: false };
/** How each server differs from one with default settings. */
const SETTINGS: Record<Exclude<Place, 'newer'>, Partial<typeof NOTHING> & { flags?: object }> = {
  plain: {},
  tls: { tls: true },
  keys: { apiKeys: true },
  tokens: { tokens: true },
  impatient: { flags: { idleTimeoutMs: 200 } },
};
/** The image of a case has 4,096 bytes. */
const RESET_AFTER_BYTES = 2500;
const REFUSED_CONNECTIONS = 2;

export class Places {
  readonly #folder: string;
  readonly #servers = new Map<string, Promise<{ server: RunningServer; credentials: Credentials }>>();
  #newer: ReturnType<typeof startNewerServer> | undefined;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  static async open(folder: string): Promise<Places> {
    const models = join(folder, 'models');
    await writeSmallBundle(models);
    await writeSmallBundle(models, { version: 2 });
    await writeSmallBundle(models, {
      name: 'stretched',
      intensity: { kind: 'percentile', low: 1, high: 99 },
    });
    await writeSmallBundle(models, { name: 'padded', fit: 'pad' });
    return new Places(folder);
  }

  async address(): Promise<string> {
    return (await this.#server('plain')).server.address;
  }

  /** Where a case is sent, for one subject. */
  async target(place: Place, fault: Fault | undefined): Promise<Target> {
    if (place === 'newer') {
      this.#newer ??= startNewerServer();
      const { address } = await this.#newer;
      return { address, credentials: {}, idle: async () => {}, close: async () => {} };
    }
    const full = fault === 'full';
    const { server, credentials } = await this.#server(full ? 'full' : place);
    const idle = () => untilOpen(server, full ? 1 : 0);
    if (full) {
      const hold = await holdOne(server);
      return { address: server.address, credentials, idle, close: hold };
    }
    const hop = await hopTo(server, fault);
    return { address: hop?.address ?? server.address, credentials, idle, close: async () => hop?.close() };
  }

  async close(): Promise<void> {
    for (const each of this.#servers.values()) await (await each).server.stop(0);
    (await this.#newer)?.stop();
  }

  #server(name: Exclude<Place, 'newer'> | 'full') {
    let running = this.#servers.get(name);
    if (running === undefined) {
      running = this.#start(name);
      this.#servers.set(name, running);
    }
    return running;
  }

  async #start(name: Exclude<Place, 'newer'> | 'full') {
    const { flags = {}, ...asked } =
      name === 'full' ? { flags: { maxConcurrentAcquisitions: 1, retryDelayMs: 40 } } : SETTINGS[name];
    const secured = await secure(join(this.#folder, name), { ...NOTHING, ...asked });
    const server = await startSmall(join(this.#folder, 'models'), { ...secured.flags, ...flags });
    return { server, credentials: secured.credentials };
  }
}

async function untilOpen(server: RunningServer, count: number): Promise<void> {
  const giveUp = performance.now() + 10_000;
  while (server.registry.budget.open !== count) {
    if (performance.now() > giveUp)
      throw new Error(`the server holds ${server.registry.budget.open} acquisitions`);
    await after(5);
  }
}

/** Fills a server that takes one acquisition. @returns what ends it */
async function holdOne(server: RunningServer): Promise<() => Promise<void>> {
  const client = connect(server.address);
  const call = client.streamAcquisition();
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

/** A TCP hop with a fault; undefined without one. */
async function hopTo(server: RunningServer, fault: Fault | undefined) {
  const host = '127.0.0.1';
  if (fault === 'reset') {
    let isReset = false;
    const proxy = await startTcpProxy({ host, port: server.port }, (total) => {
      if (isReset || total < RESET_AFTER_BYTES) return;
      isReset = true;
      proxy.reset();
    });
    return proxy;
  }
  if (fault !== 'refused') return undefined;
  let opened = 0;
  const hop = createServer((client) => {
    opened += 1;
    if (opened <= REFUSED_CONNECTIONS) {
      client.resetAndDestroy();
      return;
    }
    const upstream = tcpConnect({ host, port: server.port });
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
  const { port } = hop.address() as { port: number };
  return {
    address: `${host}:${port}`,
    close: () => new Promise<void>((resolve) => hop.close(() => resolve())),
  };
}
