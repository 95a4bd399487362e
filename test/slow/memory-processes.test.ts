import assert from 'node:assert/strict';
import type { ClientHttp2Session } from 'node:http2';
import { after, before, describe, it } from 'mocha';
import { serverProcesses } from '../../bench/support/child-processes.js';
import { loadConfig } from '../../src/config/load.js';
import { AcquisitionHeader, AnomalyMapFormat } from '../../src/gen/salad/v1/types.js';
import { FIRST_PROCESS_BYTES, mostBytes, mostBytesOfAll } from '../support/memory-formula.js';
import { rssBytes, settledRssBytes } from '../support/process-memory.js';
import { connectRaw, encode, endOf, frame, openRaw } from '../support/raw-grpc.js';
import { type ServeProcess, startServeWith } from '../support/salad.js';
import {
  type ModelsFolder,
  smallHeader,
  smallImage,
  smallModels,
  smallRows,
} from '../support/small-server.js';

const MIB = 1024 * 1024;
const PROCESSES = 2;
const SETTINGS = {
  processes: PROCESSES,
  maxConcurrentAcquisitions: 400,
  maxAcquisitionBytes: 64 * MIB,
  maxReceivedBytes: 16 * MIB,
  maxMessageBytes: 4 * MIB,
  maxConnections: 64,
  maxQueueMs: 600_000,
  overloadQueueRatio: 0,
  peerShareRatio: 0,
  peerCallsPerSecond: 0,
  idleTimeoutMs: 60_000,
};
const CONNECTIONS = 8;
const STREAMS = 200;

const header = (id: string) =>
  frame(
    encode({
      $case: 'header',
      value: AcquisitionHeader.fromPartial({
        ...smallHeader(id),
        options: { embeddings: true, anomalyMap: AnomalyMapFormat.ANOMALY_MAP_FORMAT_FLOAT32 },
      } as never),
    }),
  );
const pixels = Buffer.concat([
  ...smallRows(smallImage(1)).map((chunk) =>
    frame(encode({ $case: 'rows', value: (chunk as Extract<typeof chunk, { type: 'rows' }>).rows })),
  ),
  frame(encode({ $case: 'end', value: { crc32c: undefined } })),
]);

describe('the memory of two server processes', function () {
  this.timeout(180_000);
  let models: ModelsFolder;
  let server: ServeProcess;
  let pids: readonly number[];
  const sessions: ClientHttp2Session[] = [];

  before(async () => {
    models = await smallModels();
    server = await startServeWith(models.path, SETTINGS);
    pids = serverProcesses(server.process.pid);
  });
  after(async () => {
    for (const session of sessions) session.destroy();
    await server.stop('SIGKILL');
    await models.remove();
  });

  /** Clients of several connections, which the processes share. @param windowBytes 0: they never read an answer */
  const send = async (streams: number, windowBytes?: number) => {
    const opened = [];
    for (let index = 0; index < CONNECTIONS; index++) {
      const session = await connectRaw(server.address, windowBytes === undefined ? {} : { windowBytes });
      sessions.push(session);
      for (let each = 0; each < streams / CONNECTIONS; each++) {
        const stream = openRaw(session);
        stream.end(Buffer.concat([header(`${index}-${each}`), pixels]));
        opened.push(stream);
      }
    }
    return opened;
  };
  const settled = async () => {
    const each = [];
    for (const pid of pids) each.push(await settledRssBytes(pid));
    return each;
  };

  it('is divided: each stays below its part of the formula while clients never read', async () => {
    const warm = await send(STREAMS);
    const ended = await Promise.all(warm.map(endOf));
    assert.ok(ended.every(({ status }) => status === 0));
    for (const session of sessions.splice(0)) session.destroy();
    const idle = await settled();
    const stuck = await send(STREAMS, 0);
    const busy = await settled();
    const config = await loadConfig({ flags: SETTINGS });
    const allowed = mostBytesOfAll(config, PROCESSES);
    const grown = busy.map((bytes, index) => bytes - idle[index]!);
    const sum = grown.reduce((total, bytes) => total + bytes, 0);
    console.log(
      `    ${grown.map((bytes) => (bytes / MIB).toFixed(1)).join(' + ')} MiB above idle, ${allowed / MIB} allowed`,
    );
    assert.ok(sum < allowed);
    for (const bytes of grown) assert.ok(bytes < allowed / PROCESSES);
    assert.ok(stuck.every((stream) => !stream.closed));
    // What is divided is there once, what each process needs is there twice.
    assert.ok(allowed < PROCESSES * mostBytes(config));
    assert.ok(allowed > mostBytes(config));
    const first = rssBytes(server.process.pid!);
    assert.ok(first < FIRST_PROCESS_BYTES, `the first process takes ${first} bytes`);
  });
});
