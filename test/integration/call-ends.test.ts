import assert from 'node:assert/strict';
import type { ClientHttp2Session } from 'node:http2';
import { gzipSync } from 'node:zlib';
import { status } from '@grpc/grpc-js';
import { metrics } from '@opentelemetry/api';
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import { after, before, describe, it } from 'mocha';
import { pino } from 'pino';
import { loadConfig } from '../../src/config/load.js';
import { StreamAcquisitionResponse } from '../../src/gen/salad/v1/anomaly_scoring.js';
import { type RunningServer, startServer } from '../../src/server/server.js';
import { eventually } from '../support/eventually.js';
import { end, header, rows } from '../support/protocol/grpc-client.js';
import { connectRaw, encode, endOf, frame, openRaw, STREAM_PATH } from '../support/protocol/raw-grpc.js';
import { FRAME, RawConnection } from '../support/protocol/raw-http2.js';
import { type ModelsFolder, smallImage, smallModels } from '../support/servers/small-server.js';

const IMAGE_PATH = '/salad.v1.AnomalyScoring/ScoreImage';
const LIST_PATH = '/salad.v1.ModelRegistry/List';
const CHECK_PATH = '/grpc.health.v1.Health/Check';
const IDLE_TIMEOUT_MS = 400;
const MESSAGE_BYTES_MAX = 100_000;
const EMPTY = Buffer.alloc(0);

const image = smallImage(4);
const messages = [header(), rows(image, 64, 0, 32), rows(image, 64, 32, 64), end()].map((payload) =>
  frame(encode(payload)),
);

describe('the status of a call', function () {
  this.timeout(30_000);
  let models: ModelsFolder;
  let server: RunningServer;
  let session: ClientHttp2Session;
  let exporter: InMemoryMetricExporter;
  let provider: MeterProvider;
  const log: { level: number; reason?: string }[] = [];
  const connections: RawConnection[] = [];

  before(async () => {
    exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
    // Exports only on forceFlush.
    const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 2 ** 31 - 1 });
    provider = new MeterProvider({ readers: [reader] });
    metrics.setGlobalMeterProvider(provider);
    models = await smallModels();
    const config = await loadConfig({
      flags: {
        models: models.path,
        listen: '127.0.0.1:0',
        engine: 'onnx',
        workers: 1,
        maxBatchSize: 8,
        engineStandbyDelayMs: 0,
        headerTimeoutMs: 200,
        requestTimeoutMs: 20_000,
        idleTimeoutMs: IDLE_TIMEOUT_MS,
        maxMessageBytes: MESSAGE_BYTES_MAX,
      },
    });
    const logger = pino({ level: 'debug' }, { write: (line) => void log.push(JSON.parse(line)) });
    server = await startServer(config, { logger });
    session = await connectRaw(server.address);
  });
  after(async () => {
    session.destroy();
    for (const { socket } of connections) socket.destroy();
    await server.stop(0);
    await models.remove();
    await provider.shutdown();
    metrics.disable();
  });

  const connect = async (windowBytes?: number) => {
    const connection = await RawConnection.connect(
      server.address,
      windowBytes === undefined ? {} : { windowBytes },
    );
    connections.push(connection);
    return connection;
  };
  /** Number of calls of a method until now, by status. */
  const callCounts = async (method: string) => {
    await provider.forceFlush();
    const all =
      exporter
        .getMetrics()
        .at(-1)
        ?.scopeMetrics.flatMap(({ metrics: some }) => some) ?? [];
    const points = all.find(({ descriptor }) => descriptor.name === 'rpc.server.call.duration')?.dataPoints;
    return Object.fromEntries(
      (points ?? [])
        .filter(({ attributes }) => attributes['rpc.method'] === method.slice(1))
        .map(({ attributes, value }) => [
          attributes['rpc.response.status_code'],
          (value as { count: number }).count,
        ]),
    );
  };

  const BROKEN = Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f, 1, 2, 3]);
  const compressed = (bytes: Uint8Array) => {
    const message = frame(bytes);
    message[0] = 1;
    return message;
  };
  const PROTOCOL_ERRORS = {
    'a message above the limit': {
      bytes: frame(EMPTY, MESSAGE_BYTES_MAX + 1),
      expected: ['RESOURCE_EXHAUSTED', 'MESSAGE_TOO_LARGE'],
    },
    'a message above the limit after decompression': {
      bytes: compressed(gzipSync(Buffer.alloc(2 * MESSAGE_BYTES_MAX))),
      metadata: { 'grpc-encoding': 'gzip' },
      expected: ['RESOURCE_EXHAUSTED', 'MESSAGE_TOO_LARGE'],
    },
    'an undecodable message': { bytes: frame(BROKEN), expected: ['INVALID_ARGUMENT', 'MESSAGE_INVALID'] },
    'an invalid compressed message': {
      bytes: compressed(BROKEN),
      metadata: { 'grpc-encoding': 'gzip' },
      expected: ['INVALID_ARGUMENT', 'MESSAGE_INVALID'],
    },
    'an unknown compression': {
      bytes: compressed(BROKEN),
      metadata: { 'grpc-encoding': 'snappy' },
      expected: ['UNIMPLEMENTED', 'UNIMPLEMENTED'],
    },
    'an invalid deadline': {
      bytes: messages[0] ?? EMPTY,
      metadata: { 'grpc-timeout': 'soon' },
      expected: ['INVALID_ARGUMENT', 'MESSAGE_INVALID'],
    },
    'a passed deadline': {
      bytes: messages[0] ?? EMPTY,
      metadata: { 'grpc-timeout': '1n' },
      expected: ['DEADLINE_EXCEEDED', 'DEADLINE_EXCEEDED'],
    },
    'two messages where one is allowed': {
      path: LIST_PATH,
      bytes: Buffer.concat([frame(EMPTY), frame(EMPTY)]),
      expected: ['UNIMPLEMENTED', 'UNIMPLEMENTED'],
    },
    'an unknown method': {
      path: `/salad.v1.AnomalyScoring/${'Nothing'.repeat(1000)}`,
      bytes: frame(EMPTY),
      expected: ['UNIMPLEMENTED', 'UNIMPLEMENTED'],
    },
  } as const;
  for (const [what, { expected, ...wrong }] of Object.entries(PROTOCOL_ERRORS)) {
    it(`names the protocol error: ${what}`, async () => {
      const {
        path = STREAM_PATH,
        metadata = {},
        bytes,
      } = wrong as Partial<typeof wrong> & {
        path?: string;
        metadata?: Record<string, string>;
        bytes: Buffer;
      };
      log.length = 0;
      const stream = openRaw(session, path, metadata);
      stream.write(bytes);
      const ended = await endOf(stream);
      assert.deepEqual([status[ended.status ?? -1], ended.reason], expected);
      assert.ok((ended.details?.byteLength ?? 0) < 1000);
      // Logged once, and not as a failure of the server.
      const refusals = log.filter(({ reason }) => reason !== undefined);
      assert.deepEqual(
        refusals.map(({ level, reason }) => [level, reason]),
        [[20, expected[1]]],
      );
      // Metrics do not contain the names of unknown methods.
      const method = path.includes('Nothing') ? '/_OTHER' : path;
      assert.equal((await callCounts(method))[expected[0]] > 0, true);
    });
  }

  it('is IDLE_TIMEOUT where the request does not end after its only message', async () => {
    for (const [path, message] of [
      [IMAGE_PATH, frame(EMPTY)],
      [LIST_PATH, frame(EMPTY)],
      [CHECK_PATH, frame(EMPTY)],
    ] as const) {
      const stream = openRaw(session, path);
      stream.write(message);
      const ended = await endOf(stream);
      assert.deepEqual([ended.status, ended.reason], [status.DEADLINE_EXCEEDED, 'IDLE_TIMEOUT'], path);
    }
  });

  it('releases the call, stream and answers of a client that does not read', async () => {
    const connection = await connect(0);
    connection.request(1);
    for (const message of messages) connection.data(1, message);
    connection.request(3, LIST_PATH);
    connection.data(3, frame(EMPTY), true);
    connection.request(5, CHECK_PATH);
    connection.data(5, frame(EMPTY), true);
    for (const stream of [1, 3, 5]) {
      await connection.seen((one) => one.type === FRAME.reset && one.stream === stream);
    }
    assert.equal(server.registry.budget.open, 0);
    assert.equal(server.registry.budget.bytes, 0);
  });

  it('is OK for a deadline of 800 hours', async () => {
    const stream = openRaw(session, STREAM_PATH, { 'grpc-timeout': '800H' });
    stream.end(Buffer.concat(messages));
    assert.equal((await endOf(stream)).status, status.OK);
  });

  it('is counted as DEADLINE_EXCEEDED or CANCELLED, depending on the deadline', async () => {
    const before = await callCounts(STREAM_PATH);
    const newCalls = async (code: string) =>
      ((await callCounts(STREAM_PATH))[code] ?? 0) - (before[code] ?? 0);
    const expired = openRaw(session, STREAM_PATH, { 'grpc-timeout': '100m' });
    expired.write(messages[0]);
    assert.equal((await endOf(expired)).status, status.DEADLINE_EXCEEDED);
    const cancelled = openRaw(session, STREAM_PATH, { 'grpc-timeout': '20S' });
    cancelled.write(messages[0]);
    // Once the server has answered.
    cancelled.once('data', () => cancelled.close(8));
    await endOf(cancelled);
    await eventually(async () => assert.ok((await newCalls('CANCELLED')) > 0));
    assert.deepEqual([await newCalls('DEADLINE_EXCEEDED'), await newCalls('CANCELLED')], [1, 1]);
  });

  it('is not IDLE_TIMEOUT for a client that has sent while the server process was paused', async () => {
    const connection = await connect();
    connection.request(1);
    connection.data(1, messages[0] ?? EMPTY);
    await connection.seen(({ type, stream }) => type === FRAME.data && stream === 1);
    // In the kernel's buffers before the pause, read after it; the timers of this thread run first.
    connection.data(1, messages[1] ?? EMPTY);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2 * IDLE_TIMEOUT_MS);
    connection.data(1, messages[2] ?? EMPTY);
    connection.data(1, messages[3] ?? EMPTY, true);
    const END_STREAM = 1;
    await connection.seen(
      (one) => one.stream === 1 && (one.flags & END_STREAM) > 0 && one.type !== FRAME.reset,
    );
    const bytes = Buffer.concat(
      connection.frames
        .filter((one) => one.type === FRAME.data && one.stream === 1)
        .map((one) => one.payload),
    );
    const kinds: (string | undefined)[] = [];
    for (let at = 0; at < bytes.byteLength; ) {
      const length = bytes.readUInt32BE(at + 1);
      kinds.push(StreamAcquisitionResponse.decode(bytes.subarray(at + 5, at + 5 + length)).payload?.$case);
      at += 5 + length;
    }
    assert.equal(kinds.at(-1), 'aggregate');
  });
});
