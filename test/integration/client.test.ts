import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, afterEach, before, describe, it } from 'mocha';
import {
  type PixelChunk,
  type RetryNotice,
  SaladClient,
  SaladClientError,
} from '../../clients/typescript/src/index.js';
import type { RunningServer } from '../../src/server/server.js';
import { startTcpProxy } from '../support/network/tcp-proxy.js';
import {
  essence,
  type ModelsFolder,
  PatchCollector,
  smallHeader,
  smallImage,
  smallModels,
  smallRows,
  startSmall,
} from '../support/servers/small-server.js';

const image = smallImage(3);
const chunks = smallRows(image);
/** Never settles. */
const never = () => new Promise<never>(() => {});

async function* oneShot(pause = 0): AsyncGenerator<PixelChunk> {
  for (const chunk of chunks) {
    if (pause > 0) await sleep(pause);
    yield chunk;
  }
}

async function* stalls(): AsyncGenerator<PixelChunk> {
  yield* chunks.slice(0, 2);
  await never();
}

function fails(status: string, reason?: string) {
  return (error: unknown) => {
    assert.ok(error instanceof SaladClientError, String(error));
    assert.equal(error.status, status);
    if (reason !== undefined) assert.equal(error.reason, reason);
    return true;
  };
}

async function until(condition: () => boolean): Promise<void> {
  const giveUp = performance.now() + 5000;
  while (!condition()) {
    assert.ok(performance.now() < giveUp, 'it never came to that');
    await sleep(2);
  }
}

describe('the TypeScript client', function () {
  this.timeout(60_000);
  let models: ModelsFolder;
  let server: RunningServer;
  let client: SaladClient;

  before(async () => {
    models = await smallModels();
    server = await startSmall(models.path, { idleTimeoutMs: 20_000 });
    client = new SaladClient(server.address);
  });
  after(async () => {
    client.close();
    await server.stop(0);
    await models.remove();
  });
  afterEach(async () => {
    // Whatever a test did, the server holds nothing for it afterwards.
    await until(() => server.registry.budget.open === 0 && server.registry.budget.bytes === 0);
  });

  it('returns the same result for an array, a function and a generator', async () => {
    const results = [];
    for (const source of [chunks, () => oneShot(), () => chunks, oneShot()]) {
      const patches = new PatchCollector();
      const aggregate = await client.scoreAcquisition(smallHeader('same'), source, {
        onEvent: (event) => patches.take(event),
      });
      assert.equal(patches.aggregates, 1);
      assert.equal(patches.scores.size, 64);
      results.push({ aggregate: essence(aggregate), scores: [...patches.scores].sort() });
    }
    for (const result of results.slice(1)) assert.deepEqual(result, results[0]);
  });

  it('has a separate connection, which listing models and scoring share', async () => {
    const proxy = await startTcpProxy({ host: '127.0.0.1', port: server.port });
    const clients = [new SaladClient(proxy.address), new SaladClient(proxy.address)];
    try {
      for (const one of clients) {
        await one.listModels();
        await one.scoreAcquisition(smallHeader('own'), chunks);
      }
      assert.equal(proxy.opened, 2);
    } finally {
      for (const one of clients) one.close();
      await proxy.close();
    }
  });

  it('uses the addresses of its target in turn, or only the first, as configured', async () => {
    const proxies = [
      await startTcpProxy({ host: '127.0.0.1', port: server.port }),
      await startTcpProxy({ host: '127.0.0.1', port: server.port }),
    ];
    const target = `ipv4:${proxies.map(({ address }) => address).join(',')}`;
    try {
      for (const [balancing, connections] of [
        ['pickFirst', 1],
        ['roundRobin', 2],
      ] as const) {
        const openedAll = () => proxies.reduce((sum, { opened }) => sum + opened, 0);
        const before = openedAll();
        const one = new SaladClient(target, { balancing });
        for (let index = 0; index < 4; index++) await one.scoreAcquisition(smallHeader(`rr${index}`), chunks);
        await until(() => openedAll() - before >= connections);
        one.close();
        assert.equal(openedAll() - before, connections);
      }
    } finally {
      for (const proxy of proxies) await proxy.close();
    }
  });

  it('scores a whole raw image as it does the same rows', async () => {
    const streamed = await client.scoreAcquisition(smallHeader('raw'), chunks);
    const whole = await client.scoreImage(smallHeader('raw'), { raw: image });
    assert.deepEqual(essence(whole), essence(streamed));
  });

  it('lists and names the models', async () => {
    const [model] = await client.listModels();
    assert.equal(model?.identity?.name, 'small');
    assert.equal((await client.getModel('small')).identity?.bundleSha256, model?.identity?.bundleSha256);
    await assert.rejects(client.getModel('unknown'), fails('NOT_FOUND', 'MODEL_NOT_FOUND'));
  });

  it('reports status, reason and field of a refusal', async () => {
    const header = { ...smallHeader('bad'), image: { rows: 0, columns: 64, bitsAllocated: 8 } };
    await assert.rejects(client.scoreAcquisition(header, chunks), (error: unknown) => {
      fails('INVALID_ARGUMENT', 'HEADER_INVALID')(error);
      const { fieldViolations, retryAfterMs } = error as SaladClientError;
      assert.deepEqual(
        fieldViolations.map(({ field }) => field),
        ['header.image.rows'],
      );
      assert.equal(retryAfterMs, undefined);
      return true;
    });
  });

  it('throws the error of the source, and cancels the acquisition', async () => {
    const broken = new Error('the detector lost power');
    const source = async function* () {
      yield* chunks.slice(0, 3);
      throw broken;
    };
    await assert.rejects(client.scoreAcquisition(smallHeader('source'), source), broken);
    await assert.rejects(client.scoreAcquisition(smallHeader('source'), source()), broken);
  });

  it('throws the error of the listener, and cancels the acquisition', async () => {
    const broken = new Error('no room on the screen');
    const onEvent = () => {
      throw broken;
    };
    await assert.rejects(
      client.scoreAcquisition(smallHeader('listener'), () => stalls(), { onEvent }),
      broken,
    );
  });

  it('cancels when the loop is left early, without waiting for a source that hangs', async () => {
    for await (const event of client.streamAcquisition(smallHeader('leave'), stalls())) {
      if (event.type === 'accepted') break;
    }
    assert.equal(server.registry.budget.open <= 1, true);
  });

  it('cancels on an abort signal, also one aborted before the call', async () => {
    const abort = new AbortController();
    const running = client.scoreAcquisition(smallHeader('abort'), stalls(), {
      signal: abort.signal,
      onEvent: (event) => {
        if (event.type === 'accepted') abort.abort();
      },
    });
    await assert.rejects(running, fails('CANCELLED'));
    const late = client.scoreAcquisition(smallHeader('abort'), chunks, { signal: AbortSignal.abort() });
    await assert.rejects(late, fails('CANCELLED'));
    await assert.rejects(
      client.scoreImage(smallHeader('abort'), { raw: image }, { signal: AbortSignal.abort() }),
      fails('CANCELLED'),
    );
  });

  it('ends at the deadline although the source hangs', async () => {
    const started = performance.now();
    const running = client.scoreAcquisition(smallHeader('late'), () => stalls(), { timeoutMs: 200 });
    await assert.rejects(running, fails('DEADLINE_EXCEEDED'));
    assert.ok(performance.now() - started < 2000);
  });

  it('ends with the server’s error although the source hangs', async () => {
    const own = await startSmall(models.path);
    const ownClient = new SaladClient(own.address);
    try {
      const running = ownClient.scoreAcquisition(smallHeader('stall'), stalls(), { timeoutMs: 20_000 });
      const refused = assert.rejects(running, fails('UNAVAILABLE', 'DRAINING'));
      await until(() => own.registry.budget.open === 1);
      await own.stop(0);
      await refused;
    } finally {
      ownClient.close();
      await own.stop(0);
    }
  });
});

describe('the TypeScript client’s retry', function () {
  this.timeout(60_000);
  let models: ModelsFolder;
  let server: RunningServer;

  before(async () => {
    models = await smallModels();
    server = await startSmall(models.path, { maxConcurrentAcquisitions: 2, retryDelayMs: 30 });
  });
  after(async () => {
    await server.stop(0);
    await models.remove();
  });

  it('replays after a connection reset, with the same result', async () => {
    const proxy = await startTcpProxy({ host: '127.0.0.1', port: server.port });
    const client = new SaladClient(proxy.address);
    try {
      const expected = await client.scoreAcquisition(smallHeader('reset'), chunks);
      const patches = new PatchCollector();
      const notices: RetryNotice[] = [];
      let calls = 0;
      const source = async function* () {
        calls += 1;
        yield* chunks.slice(0, 5);
        // In the middle of the first two attempts the connection is reset.
        if (calls <= 2) {
          proxy.reset();
          await never();
        }
        yield* chunks.slice(5);
      };
      const aggregate = await client.scoreAcquisition(smallHeader('reset'), source, {
        timeoutMs: 30_000,
        onEvent: (event) => patches.take(event),
        onRetry: (notice) => {
          notices.push(notice);
          patches.reset();
        },
      });
      assert.equal(calls, 3);
      assert.deepEqual(essence(aggregate), essence(expected));
      assert.equal(patches.scores.size, 64);
      assert.equal(patches.aggregates, 1);
      assert.deepEqual(
        notices.map(({ attempt }) => attempt).filter((attempt) => attempt <= 2),
        [2],
      );
      assert.ok(notices.every(({ error }) => error.status === 'UNAVAILABLE'));
    } finally {
      client.close();
      await proxy.close();
    }
  });

  it('does not replay a generator: it throws UNAVAILABLE', async () => {
    const proxy = await startTcpProxy({ host: '127.0.0.1', port: server.port });
    const client = new SaladClient(proxy.address);
    try {
      const running = client.scoreAcquisition(smallHeader('once'), stalls(), {
        timeoutMs: 20_000,
        onEvent: (event) => {
          if (event.type === 'accepted') proxy.reset();
        },
      });
      await assert.rejects(running, fails('UNAVAILABLE'));
      assert.equal(proxy.opened, 1);
    } finally {
      client.close();
      await proxy.close();
    }
  });

  it('moves to the next server where the first one drains', async () => {
    const first = await startSmall(models.path);
    let second: RunningServer | undefined;
    const client = new SaladClient(first.address);
    let calls = 0;
    const source = async function* () {
      calls += 1;
      yield* chunks.slice(0, 5);
      if (calls === 1) {
        void first.stop(0).then(async () => {
          second = await startSmall(models.path, { listen: first.address });
        });
        await never();
      }
      yield* chunks.slice(5);
    };
    try {
      const reasons: (string | undefined)[] = [];
      const aggregate = await client.scoreAcquisition(smallHeader('move'), source, {
        timeoutMs: 30_000,
        onRetry: ({ error }) => reasons.push(error.reason),
      });
      assert.equal(reasons[0], 'DRAINING');
      assert.equal(aggregate.coverage?.scored, 64);
    } finally {
      client.close();
      await first.stop(0);
      await second?.stop(0);
    }
  });

  it('retries after the delay of an overloaded server, until it is admitted', async () => {
    const client = new SaladClient(server.address);
    const abort = new AbortController();
    const holders = ['hold-1', 'hold-2'].map((id) =>
      client.scoreAcquisition(smallHeader(id), stalls(), { signal: abort.signal }).catch(() => {}),
    );
    try {
      await until(() => server.registry.budget.open === 2);
      await assert.rejects(
        client.scoreAcquisition(smallHeader('refused'), chunks, { retry: false }),
        (error: unknown) => {
          fails('RESOURCE_EXHAUSTED', 'OVERLOADED')(error);
          assert.equal((error as SaladClientError).retryAfterMs, 30);
          return true;
        },
      );
      const notices: RetryNotice[] = [];
      const waiting = client.scoreAcquisition(smallHeader('patient'), chunks, {
        timeoutMs: 30_000,
        onRetry: (notice) => {
          notices.push(notice);
          if (notices.length === 3) abort.abort();
        },
      });
      assert.equal((await waiting).coverage?.scored, 64);
      assert.ok(notices.length >= 3);
      for (const { delayMs, error } of notices) {
        assert.equal(error.reason, 'OVERLOADED');
        assert.ok(delayMs >= 30, `${delayMs} ms is less than the delay of the server`);
      }
    } finally {
      abort.abort();
      await Promise.all(holders);
      client.close();
    }
  });

  it('fails before the deadline with the reason of the last attempt where no server answers', async () => {
    const client = new SaladClient('127.0.0.1:1', { retry: { initialBackoffMs: 20 } });
    const started = performance.now();
    await assert.rejects(
      client.scoreImage(smallHeader('nobody'), { raw: image }, { timeoutMs: 600 }),
      fails('UNAVAILABLE'),
    );
    assert.ok(performance.now() - started <= 1000);
    client.close();
  });
});
