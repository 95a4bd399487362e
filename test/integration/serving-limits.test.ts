import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { credentials, loadPackageDefinition, status } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { after, afterEach, before, describe, it } from 'mocha';
import { loadConfig } from '../../src/config/load.js';
import type { AnomalyScoringClient } from '../../src/gen/salad/v1/anomaly_scoring.js';
import {
  ModelRegistryClient,
  type ModelRegistryListResponse,
} from '../../src/gen/salad/v1/model_registry.js';
import { type RunningServer, startServer } from '../../src/server/server.js';
import { createRandom } from '../../src/util/random.js';
import { writeSmallBundle } from '../support/engines/small-bundle.js';
import { collect, connect, end, header, refusal, rows, stream } from '../support/protocol/grpc-client.js';
import { healthClient } from '../support/protocol/health-client.js';

const random = createRandom(3);
const image = Uint8Array.from({ length: 64 * 64 }, () => Math.floor(random() * 256));
const whole = () => [header(), rows(image, 64, 0, 64), end()];

describe('the server at its limits', function () {
  this.timeout(60_000);
  let folder: string;
  let server: RunningServer | undefined;
  let client: AnomalyScoringClient;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'salad-limits-'));
    await writeSmallBundle(folder);
  });

  after(() => rm(folder, { recursive: true, force: true }));

  const start = async (flags: Record<string, unknown> = {}) => {
    const config = await loadConfig({
      flags: { listen: '127.0.0.1:0', models: folder, engine: 'onnx', workers: 1, maxBatchSize: 4, ...flags },
    });
    server = await startServer(config);
    client = connect(server.address);
    return server;
  };

  afterEach(async () => {
    client?.close();
    await server?.stop(0);
    server = undefined;
  });

  /** An acquisition that is accepted and then waits for its client. */
  const openCall = async () => {
    const call = client.streamAcquisition();
    const accepted = new Promise((resolve) => call.once('data', resolve));
    const outcome = collect(call);
    outcome.catch(() => {});
    call.write({ payload: header() });
    call.write({ payload: rows(image, 64, 0, 20) });
    await accepted;
    const finish = () => {
      call.write({ payload: rows(image, 64, 20, 64) });
      call.write({ payload: end() });
      call.end();
    };
    return { call, outcome, finish };
  };

  it('refuses an acquisition above the limit at once with a retry delay, and accepts it later', async () => {
    await start({ maxConcurrentAcquisitions: 2, retryDelayMs: 123 });
    const [first, second] = [await openCall(), await openCall()];
    const started = performance.now();
    const refused = await refusal(stream(client, whole()));
    const tookMs = performance.now() - started;
    assert.deepEqual(
      [refused.code, refused.reason, refused.retryMs],
      [status.RESOURCE_EXHAUSTED, 'OVERLOADED', 123],
    );
    assert.ok(tookMs < 500, `${tookMs} ms`);
    first.finish();
    assert.equal((await first.outcome).patches.size, 64);
    assert.equal((await stream(client, whole())).patches.size, 64);
    second.finish();
    await second.outcome;
  });

  it('refuses what would not fit in memory', async () => {
    await start({ maxAcquisitionBytes: 1024 * 1024, peerShareRatio: 0 });
    const open = [];
    let refused: Awaited<ReturnType<typeof refusal>> | undefined;
    for (let i = 0; i < 100 && refused === undefined; i++) {
      try {
        open.push(await Promise.race([openCall(), stream(client, whole()).then(() => undefined)]));
      } catch (error) {
        refused = await refusal(Promise.reject(error));
      }
      assert.ok(server!.registry.budget.bytes <= 1024 * 1024);
      if (open.length > 90) break;
    }
    assert.equal(refused?.reason, 'OVERLOADED');
  });

  it('drains: finishes running calls, refuses new ones with UNAVAILABLE, reports NOT_SERVING, then closes', async () => {
    const running = await start();
    const health = healthClient(running.address);
    assert.equal(await health.check(''), 'SERVING');
    assert.equal(await health.check('salad.v1.AnomalyScoring'), 'SERVING');
    const open = await openCall();
    const stopped = running.stop(20_000);
    assert.equal(await health.check('salad.v1.AnomalyScoring'), 'NOT_SERVING');
    const refused = await refusal(stream(client, whole()));
    assert.deepEqual([refused.code, refused.reason], [status.UNAVAILABLE, 'DRAINING']);
    assert.ok((refused.retryMs ?? 0) > 0);
    open.finish();
    assert.equal((await open.outcome).patches.size, 64);
    health.close();
    await stopped;
    await assert.rejects(
      stream(client, whole()),
      (error: { code?: number }) => error.code === status.UNAVAILABLE,
    );
  });

  it('ends acquisitions that run longer than the grace period with DRAINING', async () => {
    const running = await start();
    const open = await openCall();
    await running.stop(50);
    const refused = await refusal(open.outcome);
    assert.deepEqual([refused.code, refused.reason], [status.UNAVAILABLE, 'DRAINING']);
  });

  it('ends a call at its deadline', async () => {
    await start();
    const call = client.streamAcquisition({ deadline: Date.now() + 150 } as never);
    call.write({ payload: header() });
    const refused = await refusal(collect(call));
    assert.equal(refused.code, status.DEADLINE_EXCEEDED);
    assert.equal((await stream(client, whole())).patches.size, 64);
  });

  it('keeps the results for a client that does not read, and delivers all of them later', async () => {
    await start();
    const call = client.streamAcquisition();
    const outcome = collect(call);
    call.pause();
    for (const payload of whole()) call.write({ payload });
    call.end();
    assert.equal((await stream(client, whole())).patches.size, 64);
    call.resume();
    assert.equal((await outcome).patches.size, 64);
  });

  it('scores the same on the wasm engine to within 1e-4', async () => {
    await start();
    const onnx = await stream(client, whole());
    client.close();
    await server?.stop(0);
    await start({ engine: 'wasm' });
    assert.equal(server?.engine, 'wasm');
    const wasm = await stream(client, whole());
    assert.deepEqual(wasm.aggregate.engines, ['wasm']);
    for (const [key, { score }] of onnx.patches) {
      assert.ok(Math.abs(wasm.patches.get(key)!.score - score) <= 1e-4);
    }
  });

  it('lists and describes its models, and its services by reflection', async () => {
    const running = await start();
    const registry = new ModelRegistryClient(running.address, credentials.createInsecure());
    const { models } = await new Promise<ModelRegistryListResponse>((resolve, reject) =>
      registry.list({}, (error, response) => (error ? reject(error) : resolve(response))),
    );
    assert.deepEqual(
      models.map(({ identity, engine, prototypeCount, geometry }) => [
        identity?.name,
        engine,
        prototypeCount,
        geometry?.patchRows,
      ]),
      [['small', 'onnx', 40, 8]],
    );
    const refused = await refusal(
      new Promise((_resolve, reject) => {
        registry.get({ model: { name: 'nobody', version: undefined } }, (error) => reject(error));
      }),
    );
    assert.deepEqual([refused.code, refused.reason], [status.NOT_FOUND, 'MODEL_NOT_FOUND']);
    registry.close();
    assert.deepEqual(
      (await reflectedServices(running.address)).filter((name) => name.startsWith('salad')),
      ['salad.v1.AnomalyScoring', 'salad.v1.ModelRegistry'],
    );
  });

  it('refuses to start without a bundle, with an invalid one, and on a port in use', async () => {
    const empty = await mkdtemp(join(tmpdir(), 'salad-empty-'));
    await assert.rejects(start({ models: empty }), { reason: 'CONFIGURATION_INVALID' });
    const bundle = await writeSmallBundle(empty);
    await writeFile(join(bundle.directory, 'weights.safetensors'), 'garbage');
    await assert.rejects(start({ models: empty }), { reason: 'BUNDLE_INVALID' });
    await rm(empty, { recursive: true });
    const { address } = await start();
    // There are no models: the address is checked before they are loaded, which takes long.
    for (const flags of [{ listen: address }, { listen: '127.0.0.1:0', healthListen: address }]) {
      const config = await loadConfig({ flags: { ...flags, models: empty, workers: 1, engine: 'onnx' } });
      await assert.rejects(startServer(config), {
        reason: 'ADDRESS_UNAVAILABLE',
        message: `${Object.keys(flags).at(-1)} ${address}: the address is in use`,
      });
    }
  });
});

async function reflectedServices(address: string): Promise<string[]> {
  const proto = join(
    import.meta.dirname,
    '../../node_modules/@grpc/reflection/build/proto/grpc/reflection/v1/reflection.proto',
  );
  // biome-ignore lint/suspicious/noExplicitAny: loaded at run time, without types
  const definition = loadPackageDefinition(loadSync(proto)) as any;
  const client = new definition.grpc.reflection.v1.ServerReflection(address, credentials.createInsecure());
  const call = client.serverReflectionInfo();
  const answer = new Promise<string[]>((resolve, reject) => {
    call.on('data', (message: { listServicesResponse: { service: { name: string }[] } }) =>
      resolve(message.listServicesResponse.service.map(({ name }) => name).sort()),
    );
    call.on('error', reject);
  });
  call.write({ listServices: '*' });
  const names = await answer;
  call.end();
  client.close();
  return names;
}
