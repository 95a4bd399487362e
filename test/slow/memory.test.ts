import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { ClientHttp2Session, ClientHttp2Stream } from 'node:http2';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, before, beforeEach, describe, it } from 'mocha';
import { SaladClient } from '../../clients/typescript/src/index.js';
import { type Bundle, readBundle } from '../../src/bundle/bundle.js';
import { AcquisitionHeader } from '../../src/gen/salad/v1/types.js';
import { eventually } from '../support/eventually.js';
import { ALL_ANSWERS, allowedBytes, reservedBytes } from '../support/measurements/memory-formula.js';
import { peakRssBytes, rssBytes, settledRssBytes } from '../support/measurements/process-memory.js';
import { type ServeProcess, startServeWith } from '../support/programs/salad.js';
import { connectRaw, encode, endOf, frame, openRaw } from '../support/protocol/raw-grpc.js';
import {
  type ModelsFolder,
  SIDE,
  smallHeader,
  smallImage,
  smallModels,
  smallRows,
} from '../support/servers/small-server.js';

const MIB = 1024 * 1024;
const MAX_PENDING_BYTES = 4 * MIB;
const RECEIVE_WINDOW_BYTES = 4 * MIB;

interface Load {
  readonly connections: number;
  readonly streams: number;
  /** Reserved by each stream's acquisition. */
  readonly acquisition: number;
  /** Largest request message in use. */
  readonly request: number;
  /** Streams that send faster than the server reads. */
  readonly pushing: number;
}

/** Memory that docs/explanation/memory.md allows in addition to that of the idle, warmed-up server, in bytes. */
function limit({ connections, streams, acquisition, request, pushing }: Load): number {
  const received = streams * request + pushing * (RECEIVE_WINDOW_BYTES + MAX_PENDING_BYTES);
  return allowedBytes({ connections, calls: streams, received, reserved: streams * acquisition });
}

const header = (id: string, more: Record<string, unknown> = {}) =>
  frame(
    encode({
      $case: 'header',
      value: AcquisitionHeader.fromPartial({ ...smallHeader(id), ...more } as never),
    }),
  );
const pixels = Buffer.concat([
  ...smallRows(smallImage(1)).map((chunk) =>
    frame(encode({ $case: 'rows', value: (chunk as Extract<typeof chunk, { type: 'rows' }>).rows })),
  ),
  frame(encode({ $case: 'end', value: { crc32c: undefined } })),
]);
describe('the memory of a server process', function () {
  this.timeout(120_000);
  let models: ModelsFolder;
  let server: ServeProcess;
  let pid: number;
  let bundle: Bundle;
  let idle: number;

  const report = (what: string, grown: number, allowed: number) => {
    console.log(
      `    ${what}: ${(grown / MIB).toFixed(1)} MiB above idle, ${(allowed / MIB).toFixed(0)} MiB allowed`,
    );
    assert.ok(grown < allowed, `${what}: ${grown} bytes above idle, ${allowed} allowed`);
  };
  /** Scores an image of another client meanwhile. */
  const assertServes = async () => {
    const client = new SaladClient(server.address, { retry: false });
    const aggregate = await client.scoreAcquisition(smallHeader('good'), smallRows(smallImage(1)), {
      timeoutMs: 30_000,
    });
    client.close();
    assert.equal(aggregate.coverage?.scored, 64);
  };

  before(async () => {
    models = await smallModels();
    bundle = await readBundle(join(models.path, 'small', '1'));
    server = await startServeWith(models.path, {
      maxConcurrentAcquisitions: 1200,
      maxPendingBytes: MAX_PENDING_BYTES,
      receiveWindowBytes: RECEIVE_WINDOW_BYTES,
      // Admission must refuse no acquisition, because memory is tested here.
      maxQueueMs: 600_000,
      overloadQueueRatio: 0,
      peerShareRatio: 0,
      peerCallsPerSecond: 0,
      // The calls of slow readers and idle clients must not end during the test.
      idleTimeoutMs: 60_000,
    });
    pid = server.process.pid as number;
    for (let round = 0; round < 10; round++) {
      const session = await connectRaw(server.address);
      const ends = Array.from({ length: 50 }, (_, index) => {
        const stream = openRaw(session);
        stream.end(Buffer.concat([header(`warm-${index}`, ALL_ANSWERS), pixels]));
        return endOf(stream);
      });
      assert.ok((await Promise.all(ends)).every(({ status }) => status === 0));
      session.close();
    }
  });
  beforeEach(async () => {
    idle = await settledRssBytes(pid);
  });
  after(async () => {
    await server.stop('SIGKILL');
    await models.remove();
  });

  it('stays under the formula with 1,000 idle streams', async () => {
    const load = { connections: 10, streams: 1000, request: 0, pushing: 0 };
    const sessions: ClientHttp2Session[] = [];
    let accepted = 0;
    for (let connection = 0; connection < load.connections; connection++) {
      const session = await connectRaw(server.address);
      sessions.push(session);
      for (let index = 0; index < load.streams / load.connections; index++) {
        const stream = openRaw(session);
        stream.once('data', () => {
          accepted += 1;
        });
        stream.write(header(`idle-${connection}-${index}`));
      }
    }
    while (accepted < load.streams) await sleep(20);
    const acquisition = reservedBytes(bundle, { rows: SIDE, columns: SIDE, bits: 8 });
    report('1,000 idle streams', rssBytes(pid) - idle, limit({ ...load, acquisition }));
    await assertServes();
    for (const session of sessions) session.destroy();
  });

  it('stays under the formula with 200 clients that never read their scores', async () => {
    const load = { connections: 4, streams: 200, request: pixels.byteLength, pushing: 0 };
    const sessions: ClientHttp2Session[] = [];
    const streams: ClientHttp2Stream[] = [];
    for (let connection = 0; connection < load.connections; connection++) {
      // Without a window, not even the first answer leaves the server.
      const session = await connectRaw(server.address, { windowBytes: 0 });
      sessions.push(session);
      for (let index = 0; index < load.streams / load.connections; index++) {
        const stream = openRaw(session);
        stream.end(Buffer.concat([header(`slow-${connection}-${index}`, ALL_ANSWERS), pixels]));
        streams.push(stream);
      }
    }
    // Peers and streams are served in turns, so the other acquisitions run before the end of this one.
    await assertServes();
    const acquisition = reservedBytes(bundle, { rows: SIDE, columns: SIDE, bits: 8, all: true });
    report('200 slow readers', (await settledRssBytes(pid)) - idle, limit({ ...load, acquisition }));
    assert.ok(
      streams.every((stream) => !stream.closed),
      'the call of a slow reader was ended',
    );
    for (const session of sessions) session.destroy();
  });

  it('stays bounded while four clients push 320 MB as fast as they can, and makes them wait', async () => {
    const rows = 10_000;
    const columns = 4000;
    const rowsPerMessage = 100;
    const load = { connections: 4, streams: 4, pushing: 4 };
    const samples = new Uint8Array(rowsPerMessage * columns * 4);
    let waits = 0;
    const push = async (index: number) => {
      const session = await connectRaw(server.address);
      const stream = openRaw(session);
      const end = endOf(stream);
      const image = { rows, columns, bitsAllocated: 16 };
      stream.write(header(`push-${index}`, { image }));
      const message = samples.subarray(0, rowsPerMessage * columns * 2);
      for (let firstRow = 0; firstRow < rows; firstRow += rowsPerMessage) {
        const bytes = frame(encode({ $case: 'rows', value: { firstRow, samples: message } }));
        if (stream.write(bytes)) continue;
        const before = performance.now();
        await Promise.race([once(stream, 'drain'), end]);
        if (performance.now() - before > 1) waits += 1;
      }
      stream.end(frame(encode({ $case: 'end', value: { crc32c: undefined } })));
      assert.equal((await end).status, 0);
      session.close();
    };
    const peak = await peakRssBytes(pid, async () => {
      await Promise.all(Array.from({ length: load.streams }, (_, index) => push(index)));
    });
    const acquisition = reservedBytes(bundle, { rows, columns, bits: 16 });
    const request = rowsPerMessage * columns * 2;
    report('4 clients pushing 80 MB each', peak - idle, limit({ ...load, acquisition, request }));
    assert.ok(waits > 40, `the clients waited ${waits} times`);
  });

  it('counts calls that have not sent a header, and refuses the one above the limit', async () => {
    const session = await connectRaw(server.address);
    const streams = Array.from({ length: 1200 }, () => openRaw(session));
    // The server reads the streams of a connection in their order, so the other calls are counted before this one.
    const late = openRaw(session);
    const { status } = await endOf(late);
    assert.equal(status, 8);
    assert.ok(streams.every((stream) => !stream.closed));
    session.destroy();
    // Nothing announces that the server has closed the session.
    await eventually(assertServes);
  });
});
