/** The servers that the cases of the conformance suite meet. */
import { join } from 'node:path';
import { pino } from 'pino';
import type { RunningServer } from '../../../../src/server/server.js';
import { writeSmallBundle } from '../../../support/engines/small-bundle.js';
import { type Credentials, secure } from '../../../support/network/secured.js';
import { startSmall } from '../../../support/servers/small-server.js';
import type { Fault, Place } from './case.js';
import {
  broken,
  drained,
  draining,
  held,
  killed,
  released,
  replaced,
  type Start,
  type Target,
  untilOpen,
} from './faults.js';
import { KillableServer } from './killable-server.js';
import { startNewerServer } from './newer-server.js';
import { unread } from './unread.js';

const NOTHING = { tls: false, apiKeys: false, tokens: false };
/** How each server differs from one with default settings. */
const SETTINGS: Record<Exclude<Place, 'newer'>, Partial<typeof NOTHING> & { flags?: object }> = {
  plain: {},
  tls: { tls: true },
  keys: { apiKeys: true },
  tokens: { tokens: true },
  // Nothing listens there.
  keyless: { tokens: true, flags: { authJwks: 'http://127.0.0.1:1/keys', retryDelayMs: 40 } },
  impatient: { flags: { idleTimeoutMs: 200 } },
  short: { flags: { maxMessageBytes: 65_536 } },
  single: { flags: { maxConcurrentAcquisitions: 1, retryDelayMs: 40 } },
  narrow: { flags: { receiveWindowBytes: 65_535 } },
  quota: { apiKeys: true, flags: { identityMaxAcquisitions: 1, retryDelayMs: 500 } },
};

interface Shared {
  readonly server: RunningServer;
  readonly credentials: Credentials;
  readonly refusals: Refusals;
}

/** Tells when a server refuses a call that may come again: it logs the refusal before it sends it. */
class Refusals {
  #listener = () => {};
  readonly logger = pino(
    { level: 'debug' },
    {
      write: (line: string) => {
        if (/"reason":"(OVERLOADED|QUOTA_EXCEEDED)"/.test(line)) this.#listener();
      },
    },
  );
  readonly onceRefused = (listener: () => void) => {
    this.#listener = listener;
  };
}

export class Places {
  readonly #folder: string;
  readonly #servers = new Map<string, Promise<Shared>>();
  #newer: ReturnType<typeof startNewerServer> | undefined;
  #killable: Promise<KillableServer> | undefined;

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
    const start: Start = (flags) => startSmall(join(this.#folder, 'models'), flags);
    if (fault === 'drained') return drained(start);
    if (fault === 'draining') return draining(start);
    if (fault === 'replaced') return replaced(start);
    if (fault === 'killed') {
      this.#killable ??= KillableServer.start(this.#folder);
      return killed(await this.#killable);
    }
    const { server, credentials, refusals } = await this.#server(place);
    if (fault === 'held') return held(server, credentials);
    if (fault === 'released') return released(server, credentials, refusals.onceRefused);
    if (fault === 'unread') return unread(server, join(this.#folder, 'pause'));
    const hop = fault === undefined ? undefined : await broken(fault, server.port);
    return {
      address: hop?.address ?? server.address,
      credentials,
      idle: () => untilOpen(server, 0),
      close: async () => hop?.close(),
    };
  }

  async close(): Promise<void> {
    for (const each of this.#servers.values()) await (await each).server.stop(0);
    (await this.#newer)?.stop();
    await (await this.#killable)?.close();
  }

  #server(name: Exclude<Place, 'newer'>): Promise<Shared> {
    let running = this.#servers.get(name);
    if (running === undefined) {
      running = this.#start(name);
      this.#servers.set(name, running);
    }
    return running;
  }

  async #start(name: Exclude<Place, 'newer'>): Promise<Shared> {
    const { flags = {}, ...asked } = SETTINGS[name];
    const secured = await secure(join(this.#folder, name), { ...NOTHING, ...asked });
    const refusals = new Refusals();
    const { logger } = refusals;
    const server = await startSmall(join(this.#folder, 'models'), { ...secured.flags, ...flags }, { logger });
    return { server, credentials: secured.credentials, refusals };
  }
}
