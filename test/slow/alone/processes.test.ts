import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import { serverProcesses } from '../../../bench/support/child-processes.js';
import { SaladClient } from '../../../clients/typescript/src/index.js';
import { eventually } from '../../support/eventually.js';
import { type ServeProcess, startServe } from '../../support/programs/salad.js';
import { assertSame, type Scored, scoreSmall } from '../../support/servers/scored.js';
import { type ModelsFolder, smallModels } from '../../support/servers/small-server.js';

const ACQUISITIONS = 100;
/** Each has a connection of its own, half of them to each process. */
const CLIENTS = 4;
/** Acquisitions at once; each sends its pixels over a time of its own, so that many run when a process is killed. */
const STREAMS = 20;
const acquisitionMs = (stream: number) => 150 + 20 * stream;
const IMAGES = 8;

/** Results of a server with one process. */
async function scoreByOne(models: string): Promise<readonly Scored[]> {
  const server = await startServe('--models', models, '--engine', 'onnx', '--workers', '1');
  const client = new SaladClient(server.address);
  const results: Scored[] = [];
  try {
    for (let seed = 0; seed < IMAGES; seed++)
      results.push(await scoreSmall(client, `one${seed}`, seed, { durationMs: 0 }));
  } finally {
    client.close();
    await server.stop('SIGKILL');
  }
  return results;
}

describe('two server processes, one of which is killed under load', function () {
  this.timeout(180_000);
  let models: ModelsFolder;
  let server: ServeProcess;
  let undisturbed: readonly Scored[];
  const clients: SaladClient[] = [];

  before(async () => {
    models = await smallModels();
    undisturbed = await scoreByOne(models.path);
    const engine = ['--engine', 'onnx', '--workers', '2', '--processes', '2'];
    server = await startServe('--models', models.path, ...engine);
    for (let index = 0; index < CLIENTS; index++) clients.push(new SaladClient(server.address));
  });
  after(async () => {
    for (const client of clients) client.close();
    await server.stop('SIGKILL');
    await models.remove();
  });

  it(`loses none and doubles none of ${ACQUISITIONS} acquisitions, and gives the bits of one process`, async () => {
    const clientOf = (index: number) => clients[index % CLIENTS]!;
    const pids = serverProcesses(server.process.pid);
    assert.equal(pids.length, 2);
    const results = new Map<string, Scored>();
    let started = 0;
    let broken = 0;
    const runStream = async (stream: number) => {
      while (started < ACQUISITIONS) {
        const seed = started % IMAGES;
        const id = `a${started++}`;
        if (started === ACQUISITIONS / 2) process.kill(pids[0]!, 'SIGKILL');
        const result = await scoreSmall(clientOf(stream), id, seed, {
          durationMs: acquisitionMs(stream),
          onRetry: (_notice, wasAccepted) => {
            if (wasAccepted) broken += 1;
          },
        });
        assert.ok(!results.has(id));
        assert.equal(result.aggregate.acquisitionId, id);
        assert.equal(result.patches.aggregates, 1);
        assertSame(result, undisturbed[seed]!);
        results.set(id, result);
      }
    };
    await Promise.all(Array.from({ length: STREAMS }, (_, stream) => runStream(stream)));
    assert.equal(results.size, ACQUISITIONS);
    // Otherwise no acquisition ran in the process that was killed, or all did.
    assert.ok(broken > 0 && broken < STREAMS, `${broken} acquisitions were broken`);
    await eventually(() => {
      const now = serverProcesses(server.process.pid);
      assert.ok(now.length === 2 && !now.includes(pids[0]!), 'it was not started again');
    }, 60_000);
    console.log(`    ${broken} running acquisitions were broken, and sent again`);
  });
});
