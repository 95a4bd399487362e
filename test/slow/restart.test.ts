import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, before, describe, it } from 'mocha';
import { SaladClient } from '../../clients/typescript/src/index.js';
import { type ServeProcess, startServe } from '../support/programs/salad.js';
import { assertSame, type Scored, scoreSmall } from '../support/servers/scored.js';
import { type ModelsFolder, smallModels } from '../support/servers/small-server.js';

const ACQUISITIONS = 100;
const CONNECTIONS = 4;
/** An acquisition is sent over about this long, so that all are under way when the server is killed. */
const ACQUISITION_MS = 1600;

describe('a server killed and restarted under 100 acquisitions', function () {
  this.timeout(180_000);
  let models: ModelsFolder;
  let server: ServeProcess;
  const serve = (...flags: readonly string[]) =>
    startServe('--models', models.path, '--engine', 'onnx', '--workers', '1', ...flags);

  before(async () => {
    models = await smallModels();
    server = await serve();
  });
  after(async () => {
    await server.stop('SIGKILL');
    await models.remove();
  });

  it('loses none and doubles none, and every result is the undisturbed one', async () => {
    const { address } = server;
    const clients = Array.from({ length: CONNECTIONS }, () => new SaladClient(address));
    const all = (durationMs: number) =>
      Array.from({ length: ACQUISITIONS }, (_, index) =>
        scoreSmall(clients[index % CONNECTIONS] as SaladClient, `a${index}`, index, { durationMs }),
      );
    try {
      const undisturbed = await Promise.all(all(0));
      const running = Promise.all(all(ACQUISITION_MS));
      for (let kill = 0; kill < 2; kill++) {
        await sleep(ACQUISITION_MS / 2);
        await server.stop('SIGKILL');
        server = await serve('--listen', address);
      }
      const results = await running;
      for (const [index, result] of results.entries()) {
        assert.equal(result.patches.aggregates, 1);
        assert.equal(result.aggregate.acquisitionId, `a${index}`);
        assertSame(result, undisturbed[index] as Scored);
      }
      // Else the test would have shown nothing.
      assert.ok(
        results.every(({ attempts }) => attempts >= 2),
        'an acquisition was not disturbed',
      );
    } finally {
      for (const client of clients) client.close();
    }
  });
});
