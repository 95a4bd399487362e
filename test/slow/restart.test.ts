import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, before, describe, it } from 'mocha';
import {
  type AcquisitionAggregate,
  type PixelChunk,
  SaladClient,
} from '../../clients/typescript/src/index.js';
import { type ServeProcess, startServe } from '../support/salad.js';
import {
  essence,
  type ModelsFolder,
  PatchCollector,
  smallHeader,
  smallImage,
  smallModels,
  smallRows,
} from '../support/small-server.js';

const ACQUISITIONS = 100;
const CONNECTIONS = 4;
/** An acquisition is sent over about this long, so that all are under way when the server dies. */
const ACQUISITION_MS = 1600;

interface Scored {
  readonly aggregate: AcquisitionAggregate;
  readonly patches: PatchCollector;
  readonly attempts: number;
}

async function* paced(chunks: readonly PixelChunk[], durationMs: number): AsyncGenerator<PixelChunk> {
  for (const chunk of chunks) {
    if (durationMs > 0) await sleep(durationMs / chunks.length);
    yield chunk;
  }
}

async function score(client: SaladClient, index: number, durationMs: number): Promise<Scored> {
  const patches = new PatchCollector();
  let attempts = 1;
  const chunks = smallRows(smallImage(index));
  const aggregate = await client.scoreAcquisition(smallHeader(`a${index}`), () => paced(chunks, durationMs), {
    timeoutMs: 90_000,
    onEvent: (event) => patches.take(event),
    onRetry: () => {
      attempts += 1;
      patches.reset();
    },
  });
  return { aggregate, patches, attempts };
}

/** Equal but for the order of float32 sums, which depends on the batch a tile rode in. */
function assertSame(one: Scored, other: Scored): void {
  const [a, b] = [essence(one.aggregate), essence(other.aggregate)];
  assert.ok(Math.abs(a.imageScore - b.imageScore) <= 1e-4, `${a.imageScore} is not ${b.imageScore}`);
  assert.deepEqual(
    [a.acquisitionId, a.decision, a.coverage, a.model],
    [b.acquisitionId, b.decision, b.coverage, b.model],
  );
  assert.equal(one.patches.scores.size, other.patches.scores.size);
  for (const [place, value] of one.patches.scores) {
    const expected = other.patches.scores.get(place) ?? Number.NaN;
    assert.ok(Math.abs(value - expected) <= 1e-6, `patch ${place}: ${value} is not ${expected}`);
  }
}

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
        score(clients[index % CONNECTIONS] as SaladClient, index, durationMs),
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
