/** The Open Inference Protocol at the limits of the server: scopes, quotas, memory, cancellation, drain. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { after, afterEach, before, describe, it } from 'mocha';
import { stringify } from 'yaml';
import { makeApiKey } from '../../src/auth/api-keys.js';
import {
  type GRPCInferenceServiceClient,
  ModelInferRequest,
  type ModelStreamInferResponse,
} from '../../src/gen/inference/grpc_service.js';
import type { RunningServer } from '../../src/server/server.js';
import { writeSmallBundle } from '../support/engines/small-bundle.js';
import { eventually } from '../support/eventually.js';
import { refusal } from '../support/protocol/grpc-client.js';
import { call, connectInference, infer, inferRequest, numbers } from '../support/protocol/open-inference.js';
import { connectRaw, endOf, frame, openRaw } from '../support/protocol/raw-grpc.js';
import { type ModelsFolder, smallImage, smallModels, startSmall } from '../support/servers/small-server.js';

const SIDE = 64;

/** Random images in one tensor. */
const batch = (count: number, model = 'small') => {
  const data = Buffer.concat(Array.from({ length: count }, (_, seed) => smallImage(seed + 1)));
  return { model, inputs: [{ datatype: 'UINT8', shape: [count, SIDE, SIDE, 1], data }] };
};

describe('the Open Inference Protocol at the limits of the server', function () {
  this.timeout(60_000);
  let models: ModelsFolder;
  let folder: string;
  /** Has a model whose batches take milliseconds. */
  let slow: string;
  let server: RunningServer | undefined;
  let client: GRPCInferenceServiceClient;

  before(async () => {
    models = await smallModels();
    folder = await mkdtemp(join(tmpdir(), 'salad-inference-'));
    slow = join(folder, 'slow');
    await writeSmallBundle(slow, { name: 'slow', width: 256 });
  });
  after(async () => {
    await models.remove();
    await rm(folder, { recursive: true });
  });
  afterEach(async () => {
    client.close();
    await server?.stop(0);
    server = undefined;
  });

  const start = async (flags: Record<string, unknown> = {}, path = models.path) => {
    server = await startSmall(path, flags);
    client = connectInference(server.address);
    return server;
  };

  it('asks for the scope of ScoreImage, and for none to say that it lives', async () => {
    const file = join(folder, 'keys.yaml');
    const [scorer, admin] = (['score', 'admin'] as const).map((scope) =>
      makeApiKey({ name: scope, scopes: [scope] }),
    );
    await writeFile(file, stringify({ keys: [scorer!.entry, admin!.entry] }));
    await start({ authApiKeysFile: file, admin: true });
    const method =
      (name: 'modelInfer' | 'modelReady' | 'repositoryModelLoad') =>
      (key: string | undefined): Promise<unknown> =>
        new Promise((resolve, reject) => {
          const metadata = new Metadata();
          if (key !== undefined) metadata.set('x-api-key', key);
          const done = (error: ServiceError | null, response: unknown) =>
            error === null ? resolve(response) : reject(error);
          if (name === 'modelInfer') client.modelInfer(inferRequest(batch(1)), metadata, done);
          else if (name === 'modelReady') client.modelReady({ name: 'small', version: '' }, metadata, done);
          else
            client.repositoryModelLoad(
              { repositoryName: '', modelName: 'small', parameters: {} },
              metadata,
              done,
            );
        });
    assert.deepEqual(await call(client, client.serverLive, {}), { live: true });
    assert.deepEqual(await call(client, client.serverReady, {}), { ready: true });
    for (const name of ['modelInfer', 'modelReady'] as const) {
      assert.equal((await refusal(method(name)(undefined))).reason, 'CREDENTIALS_MISSING');
      assert.equal((await refusal(method(name)(admin!.key))).reason, 'SCOPE_MISSING');
      await method(name)(scorer!.key);
    }
    const load = method('repositoryModelLoad');
    assert.equal((await refusal(load(scorer!.key))).reason, 'SCOPE_MISSING');
    assert.deepEqual(await load(admin!.key), {});
  });

  it('loads and unloads models, and ends a request on the version that it began with', async () => {
    const repository = join(folder, 'live');
    await writeSmallBundle(repository, { name: 'stays' });
    await writeSmallBundle(repository, { name: 'slow', width: 256 });
    await start({ admin: true, maxBatchSize: 1 }, repository);
    const change = (modelName: string, parameters = {}, repositoryName = '') => ({
      ...{ repositoryName, modelName, parameters },
    });
    const states = async (ready: boolean) => {
      const { models: all } = await call(client, client.repositoryIndex, { repositoryName: '', ready });
      return all
        .filter(({ name }) => !name.includes('.'))
        .map(({ name, version, state }) => `${name} ${version} ${state}`);
    };

    const begun = infer(client, inferRequest(batch(8, 'slow')));
    await eventually(() => assert.ok((server?.registry.queuedTiles ?? 0) > 0));
    const dependents = { unload_dependents: { parameterChoice: { $case: 'boolParam', value: false } } };
    assert.deepEqual(await call(client, client.repositoryModelUnload, change('slow', dependents)), {});
    assert.deepEqual(await states(true), ['stays 1 READY']);
    assert.equal((await refusal(infer(client, inferRequest(batch(1, 'slow'))))).reason, 'MODEL_NOT_FOUND');
    assert.equal((await begun).modelVersion, '1');

    await writeSmallBundle(repository, { name: 'slow', version: 2, width: 128 });
    assert.deepEqual(await call(client, client.repositoryModelLoad, change('slow')), {});
    assert.ok((await states(true)).includes('slow 2 READY'));
    assert.equal((await infer(client, inferRequest(batch(1, 'slow')))).modelVersion, '2');
    for (const [request, field] of [
      [
        change('slow', { config: { parameterChoice: { $case: 'stringParam', value: '{}' } } }),
        'parameters.config',
      ],
      [change('slow', {}, 'other'), 'repository_name'],
      [change('slow.tiles'), 'model_name'],
    ] as const) {
      assert.deepEqual((await refusal(call(client, client.repositoryModelLoad, request))).fields, [field]);
    }
    assert.equal(
      (await refusal(call(client, client.repositoryModelLoad, change('absent')))).reason,
      'MODEL_NOT_FOUND',
    );
  });

  it('counts a stream as one acquisition of its identity', async () => {
    await start({ identityMaxAcquisitions: 1 });
    const stream = client.modelStreamInfer();
    stream.write(inferRequest(batch(1)));
    await once(stream, 'data');
    assert.equal((await refusal(infer(client, batch(1)))).reason, 'QUOTA_EXCEEDED');
    stream.end();
    stream.resume();
    await once(stream, 'end');
    await eventually(() => infer(client, batch(1)));
  });

  it('limits messages by their method', async () => {
    await start({ maxMessageBytes: 100_000 });
    assert.equal((await refusal(infer(client, batch(25)))).reason, 'MESSAGE_TOO_LARGE');
    const name = 'x'.repeat(5000);
    const long = call(client, client.modelMetadata, { name, version: '' });
    assert.equal((await refusal(long)).reason, 'MESSAGE_TOO_LARGE');
    const stream = client.modelStreamInfer();
    stream.on('data', () => undefined);
    const failed = once(stream, 'error');
    stream.write(inferRequest(batch(1)));
    stream.write(inferRequest(batch(25)));
    const [error] = (await failed) as [ServiceError];
    assert.equal((await refusal(Promise.reject(error))).reason, 'MESSAGE_TOO_LARGE');
  });

  it('refuses a message of millions of fields, dimensions or elements that are none', async () => {
    await start();
    const send = (bytes: Buffer) =>
      new Promise((resolve, reject) => {
        const path = '/inference.GRPCInferenceService/ModelInfer';
        client.makeUnaryRequest(
          path,
          () => bytes,
          Buffer.from,
          {},
          (error, response) => (error === null ? resolve(response) : reject(error)),
        );
      });
    /** A length-delimited field. */
    const field = (number: number, bytes: Buffer) => {
      const prefix: number[] = [];
      for (const value of [8 * number + 2, bytes.length]) {
        let left = value;
        while (left >= 0x80) {
          prefix.push((left % 128) | 0x80);
          left = Math.floor(left / 128);
        }
        prefix.push(left);
      }
      return Buffer.concat([Buffer.from(prefix), bytes]);
    };
    const emptyInputs = Buffer.alloc(2_000_000).fill(Buffer.from([42, 0]));
    const dimensions = field(5, field(3, Buffer.alloc(2_000_000, 1)));
    for (const bytes of [emptyInputs, dimensions, field(5, Buffer.from([24])), Buffer.from([42, 9, 1])]) {
      const { code, reason } = await refusal(send(bytes));
      assert.deepEqual([code, reason], [status.INVALID_ARGUMENT, 'MESSAGE_INVALID']);
    }
    const name = field(1, Buffer.from('small'));
    const input = (elements: Buffer) =>
      Buffer.concat([
        ...[field(1, Buffer.from('image')), field(2, Buffer.from('UINT8'))],
        ...[field(3, Buffer.from([1, 64, 64, 1])), field(5, elements)],
      ]);
    for (const elements of [
      field(4, Buffer.alloc(4096, 0x80)),
      Buffer.concat([field(4, Buffer.alloc(4000, 1)), Buffer.from([34, 100])]),
    ]) {
      const bytes = Buffer.concat([name, field(5, input(Buffer.concat([elements, Buffer.alloc(200)])))]);
      assert.equal((await refusal(send(bytes))).code, status.INVALID_ARGUMENT);
    }
    assert.equal(numbers(await infer(client, batch(1)), 'image_score').length, 1);
  });

  it('reads compressed messages', async () => {
    await start();
    const expected = numbers(await infer(client, batch(2)), 'patch_scores');
    const { GRPCInferenceServiceClient: Client } = await import('../../src/gen/inference/grpc_service.js');
    const { credentials } = await import('@grpc/grpc-js');
    const compressing = new Client(server!.address, credentials.createInsecure(), {
      'grpc.default_compression_algorithm': 2,
    });
    try {
      assert.deepEqual(numbers(await infer(compressing, batch(2)), 'patch_scores'), expected);
    } finally {
      compressing.close();
    }
  });

  it('scores a batch that takes more room than there is, image after image', async () => {
    const running = await start({ maxAcquisitionBytes: 1024 * 1024, peerShareRatio: 0 });
    const { budget } = running.registry;
    const response = await infer(client, batch(64));
    assert.equal(numbers(response, 'image_score').filter(Number.isFinite).length, 64);
    assert.equal(budget.bytes, 0);
    // Nor is what a single image needs ever refused with a retry that cannot help.
    assert.equal(budget.open, 0);
  });

  for (const method of ['ModelInfer', 'ModelStreamInfer']) {
    it(`keeps the memory of an answer reserved until it is read or given up: ${method}`, async () => {
      const { registry, address } = await start();
      const side = 512;
      const request = inferRequest({
        model: 'small',
        inputs: [
          {
            ...{ datatype: 'UINT8', shape: [1, side, side, 1] },
            data: Uint8Array.from({ length: side * side }, (_, index) => index % 251),
          },
        ],
        outputs: ['anomaly_map'],
      });
      const message = frame(ModelInferRequest.encode(request).finish());
      // The map has 1 MiB.
      const session = await connectRaw(address, { windowBytes: 1000 });
      const unread = async () => {
        const stream = openRaw(session, `/inference.GRPCInferenceService/${method}`);
        stream.end(message);
        await once(stream, 'response');
        assert.ok(registry.budget.bytes > 4 * side * side, `${registry.budget.bytes} bytes are reserved`);
        return stream;
      };
      assert.equal((await endOf(await unread())).status, 0);
      await eventually(() => assert.equal(registry.budget.bytes, 0));
      (await unread()).destroy();
      await eventually(() => assert.equal(registry.budget.bytes, 0));
      session.destroy();
    });
  }

  it('stops all images of a cancelled batch: no tile starts after those in flight', async () => {
    const { registry } = await start({ maxBatchSize: 4 }, slow);
    let started = 0;
    const run = registry.pool.run.bind(registry.pool);
    registry.pool.run = (model, slot, count, urgent) => {
      started += count;
      return run(model, slot, count, urgent);
    };
    const controller = client.modelInfer(inferRequest(batch(64, 'slow')), () => undefined);
    await eventually(() => assert.ok(started >= 8));
    controller.cancel();
    await eventually(() => assert.equal(registry.budget.open, 0));
    const atCancel = started;
    assert.equal(registry.queuedTiles, 0);
    // Long enough for many batches of this model.
    await infer(client, batch(1, 'slow'));
    assert.equal(started, atCancel + 16);
    assert.ok(atCancel < 64 * 16, `${atCancel} tiles were started`);
  });

  it('takes a client that waits for its answer for no silent one, and ends an idle stream', async () => {
    await start({ idleTimeoutMs: 100 }, slow);
    const stream = client.modelStreamInfer();
    const failed = once(stream, 'error');
    stream.write(inferRequest({ ...batch(64, 'slow'), id: 'long' }));
    const startMs = performance.now();
    const [answer] = (await once(stream, 'data')) as [ModelStreamInferResponse];
    assert.ok(performance.now() - startMs > 300, 'longer than the timeout');
    assert.deepEqual([answer.inferResponse?.id, answer.errorMessage], ['long', '']);
    const [error] = (await failed) as [ServiceError];
    assert.equal((await refusal(Promise.reject(error))).reason, 'IDLE_TIMEOUT');
  });

  it('drains: answers what was begun, ends streams with a retryable status, and is not ready', async () => {
    const running = await start({}, slow);
    const stream = client.modelStreamInfer();
    const answers: ModelStreamInferResponse[] = [];
    stream.on('data', (answer: ModelStreamInferResponse) => answers.push(answer));
    const failed = once(stream, 'error');
    stream.write(inferRequest({ ...batch(64, 'slow'), id: 'begun' }));
    await eventually(() => assert.ok(running.registry.budget.open > 0));
    const stopped = running.stop(20_000);
    const other = connectInference(running.address);
    assert.deepEqual(await call(other, other.serverReady, {}), { ready: false });
    assert.deepEqual(await call(other, other.serverLive, {}), { live: true });
    assert.equal((await refusal(infer(other, batch(1, 'slow')))).reason, 'DRAINING');
    other.close();
    const [error] = (await failed) as [ServiceError];
    const refused = await refusal(Promise.reject(error));
    assert.deepEqual([refused.code, refused.reason], [status.UNAVAILABLE, 'DRAINING']);
    assert.ok(refused.retryMs !== undefined);
    assert.deepEqual(
      answers.map(({ inferResponse }) => inferResponse?.id),
      ['begun'],
    );
    await stopped;
  });
});
