import assert from 'node:assert/strict';
import { experimental } from '@grpc/grpc-js';
import { after, before, describe, it } from 'mocha';
import { SaladClient } from '../../clients/typescript/src/index.js';
import type { RunningServer } from '../../src/server/server.js';
import { startTcpProxy, type TcpProxy } from '../support/network/tcp-proxy.js';
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

describe('a second server that appears', function () {
  this.timeout(30_000);
  let models: ModelsFolder;
  const servers: RunningServer[] = [];
  const proxies: TcpProxy[] = [];

  before(async () => {
    models = await smallModels();
    experimental.registerResolver('growing', GrowingService);
  });
  after(async () => {
    for (const proxy of proxies) await proxy.close();
    for (const server of servers) await server.stop(0);
    await models.remove();
  });

  const grow = async () => {
    const server = await startSmall(models.path, { connectionMaxAgeMs: 200 });
    const proxy = await startTcpProxy({ host: '127.0.0.1', port: server.port });
    servers.push(server);
    proxies.push(proxy);
    ports = [...ports, Number(proxy.address.split(':')[1])];
    return proxy;
  };

  it('gets its share of a client that never stops, and no acquisition is lost for that', async () => {
    await grow();
    // With retries, as clients have: the server refuses a stream that crosses its last GOAWAY, and grpc-js opens such a
    // stream again by itself only once.
    const client = new SaladClient('growing:service');
    try {
      const score = async (id: string) => {
        const { coverage } = await client.scoreAcquisition(smallHeader(id), chunks);
        assert.equal(coverage?.scored, 64);
      };
      await score('first');
      const second = await grow();
      const giveUp = performance.now() + 20_000;
      for (let index = 0; second.opened === 0; index++) {
        assert.ok(performance.now() < giveUp, 'nothing came to the second server');
        await Promise.all([score(`a${index}`), score(`b${index}`)]);
      }
      await Promise.all([score('c'), score('d')]);
    } finally {
      client.close();
    }
  });
});
