import assert from 'node:assert/strict';
import { experimental } from '@grpc/grpc-js';
import { after, before, describe, it } from 'mocha';
import { SaladClient } from '../../clients/typescript/src/index.js';
import type { RunningServer } from '../../src/server/server.js';
import {
  type ModelsFolder,
  smallHeader,
  smallImage,
  smallModels,
  smallRows,
  startSmall,
} from '../support/servers/small-server.js';

const chunks = smallRows(smallImage(7));

/** What the name resolves to, as the headless service of a cluster that grows. */
let ports: readonly number[] = [];

class GrowingService implements experimental.Resolver {
  constructor(
    _target: unknown,
    private readonly listener: experimental.ResolverListener,
  ) {}

  static getDefaultAuthority(): string {
    return 'localhost';
  }

  updateResolution(): void {
    const endpoints = ports.map((port) => ({ addresses: [{ host: '127.0.0.1', port }] }));
    setImmediate(() => this.listener(experimental.statusOrFromValue(endpoints), {}, null, ''));
  }

  destroy(): void {}
}

/** Acquisitions that are scored once both servers have answered, and the part of them that each must score. */
const MEASURED = 60;
const SHARE_MIN = 1 / 4;

describe('a second server that appears', function () {
  this.timeout(60_000);
  const folders: ModelsFolder[] = [];
  const servers: RunningServer[] = [];

  before(() => experimental.registerResolver('growing', GrowingService));
  after(async () => {
    for (const server of servers) await server.stop(0);
    for (const folder of folders) await folder.remove();
  });

  /** @param version of its model, by which the answers tell which server scored */
  const grow = async (version: number) => {
    const models = await smallModels({ version });
    folders.push(models);
    const server = await startSmall(models.path, { connectionMaxAgeMs: 200 });
    servers.push(server);
    ports = [...ports, server.port];
  };

  it('gets its share of a client that never stops, and no acquisition is lost for that', async () => {
    await grow(1);
    // With retries, as clients have: the server refuses a stream that crosses its last GOAWAY, and grpc-js opens such a
    // stream again by itself only once.
    const client = new SaladClient('growing:service');
    /** Completed acquisitions by server: the first, the second. */
    const scored = [0, 0];
    const score = async (id: string) => {
      const { coverage, model } = await client.scoreAcquisition(smallHeader(id), chunks);
      assert.equal(coverage?.scored, 64);
      const index = Number(model?.version) - 1;
      scored[index] = (scored[index] ?? 0) + 1;
    };
    const pair = (id: string) => Promise.all([score(`${id}-a`), score(`${id}-b`)]);
    try {
      await pair('first');
      assert.deepEqual(scored, [2, 0]);
      await grow(2);
      const giveUp = performance.now() + 20_000;
      for (let index = 0; scored[1] === 0; index++) {
        assert.ok(performance.now() < giveUp, 'the second server scored nothing');
        await pair(`waiting-${index}`);
      }
      scored.fill(0);
      for (let index = 0; index < MEASURED / 2; index++) await pair(`measured-${index}`);
      const [least = 0, most = 0] = scored.toSorted((one, other) => one - other);
      assert.equal(least + most, MEASURED);
      assert.ok(least >= SHARE_MIN * MEASURED, `the servers scored ${scored.join(' and ')} of ${MEASURED}`);
    } finally {
      client.close();
    }
  });
});
