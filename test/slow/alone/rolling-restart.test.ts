import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import { SaladClient } from '../../../clients/typescript/src/index.js';
import { type ServeProcess, startServe } from '../../support/programs/salad.js';
import { assertSame, type Scored, scoreSmall } from '../../support/servers/scored.js';
import { type ModelsFolder, smallModels } from '../../support/servers/small-server.js';

const INSTANCES = 2;
const ACQUISITIONS_MIN = 1000;
/** Concurrent streams; each sends its pixels over this time, so that many are running when an instance is stopped. */
const STREAMS = 24;
const ACQUISITION_MS = 80;
const IMAGES = 8;
/** Of every instance, in turn. */
const RESTARTS = 2;

describe('two instances behind round-robin, restarted in turn under load', function () {
  this.timeout(180_000);
  let models: ModelsFolder;
  const servers: ServeProcess[] = [];
  const serve = (...flags: readonly string[]) =>
    startServe('--models', models.path, '--engine', 'onnx', '--workers', '1', ...flags);

  before(async () => {
    models = await smallModels();
    for (let index = 0; index < INSTANCES; index++) servers.push(await serve());
  });
  after(async () => {
    for (const server of servers) await server.stop('SIGKILL');
    await models.remove();
  });

  it(`lose none and double none of ${ACQUISITIONS_MIN} acquisitions, and break none that runs`, async () => {
    const client = new SaladClient(`ipv4:${servers.map(({ address }) => address).join(',')}`);
    const images = Array.from({ length: IMAGES }, (_, seed) => seed);
    const undisturbed = await Promise.all(
      images.map((seed) => scoreSmall(client, `calm${seed}`, seed, { durationMs: 0 })),
    );
    const results = new Map<string, Scored>();
    const brokenWhileRunning: string[] = [];
    const reasons: Record<string, number> = {};
    let restarted = false;
    let started = 0;
    const runStream = async () => {
      while (!restarted || started < ACQUISITIONS_MIN) {
        const id = `a${started++}`;
        const seed = started % IMAGES;
        const result = await scoreSmall(client, id, seed, {
          durationMs: ACQUISITION_MS,
          onRetry: ({ error }, wasAccepted) => {
            const why = error.reason ?? error.status;
            reasons[why] = (reasons[why] ?? 0) + 1;
            if (wasAccepted) brokenWhileRunning.push(`${id}: ${why} ${error.message}`);
          },
        });
        assert.ok(!results.has(id));
        assert.equal(result.aggregate.acquisitionId, id);
        assert.equal(result.patches.aggregates, 1);
        assertSame(result, undisturbed[seed] as Scored);
        results.set(id, result);
      }
    };
    const restartAll = async () => {
      const exitCodes: (number | null)[] = [];
      for (let turn = 0; turn < RESTARTS * INSTANCES; turn++) {
        const index = turn % INSTANCES;
        const { address } = servers[index] as ServeProcess;
        const before = results.size;
        exitCodes.push(await (servers[index] as ServeProcess).stop('SIGTERM'));
        servers[index] = await serve('--listen', address);
        // Otherwise the restart would have interrupted no acquisition.
        assert.ok(results.size > before, 'no acquisition ended during the restart');
      }
      return exitCodes;
    };
    try {
      const streams = Array.from({ length: STREAMS }, runStream);
      const load = Promise.all(streams);
      const exitCodes = await Promise.race([restartAll(), load.then(() => [])]);
      restarted = true;
      await load;
      assert.deepEqual(exitCodes, new Array(RESTARTS * INSTANCES).fill(0));
      assert.equal(results.size, started);
      assert.ok(results.size >= ACQUISITIONS_MIN, `${results.size} acquisitions`);
      assert.deepEqual(brokenWhileRunning, []);
      console.log(
        `    ${results.size} acquisitions, ${exitCodes.length} restarts; refused: ${JSON.stringify(reasons)}`,
      );
    } finally {
      client.close();
    }
  });
});
