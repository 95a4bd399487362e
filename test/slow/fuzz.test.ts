import assert from 'node:assert/strict';
import type { ClientHttp2Session } from 'node:http2';
import { status } from '@grpc/grpc-js';
import { after, before, describe, it } from 'mocha';
import { SaladClient } from '../../clients/typescript/src/index.js';
import { ERROR_REASONS } from '../../src/errors/index.js';
import { ErrorInfo } from '../../src/gen/google/rpc/error_details.js';
import { Status } from '../../src/gen/google/rpc/status.js';
import { AcquisitionHeader } from '../../src/gen/salad/v1/types.js';
import { forcedCollections, rssBytes } from '../support/measurements/process-memory.js';
import { type ServeProcess, startServeWith } from '../support/programs/salad.js';
import { connectRaw, encode, frame, openRaw } from '../support/protocol/raw-grpc.js';
import { DAMAGE, type FuzzedStream, runFuzzed } from '../support/servers/fuzz.js';
import {
  essence,
  type ModelsFolder,
  PatchCollector,
  smallHeader,
  smallImage,
  smallModels,
  smallRows,
} from '../support/servers/small-server.js';

const STREAMS = 20_000;
const CONCURRENT = 64;
const STREAMS_PER_CONNECTION = 1000;
const MAX_ACQUISITIONS = 200;
/** Streams before memory is measured: heaps grow to their working size first. */
const WARM_UP = 6000;
/**
 * Limit of the difference between the lowest RSS in the first and in the last quarter of the measurements: 10,000
 * streams that each leak 3 kB exceed it.
 */
const GROWTH_LIMIT_BYTES = 30 * 1024 * 1024;
const COLLECT_EVERY_MS = 1500;

/** Status codes that grpc-js sends itself, before a handler runs. */
const TRANSPORT_CODES = new Set<number>([
  status.INTERNAL,
  status.RESOURCE_EXHAUSTED,
  status.UNIMPLEMENTED,
  status.CANCELLED,
]);

/** @returns what is wrong with how the server ended the stream */
function complaint(end: FuzzedStream): string | undefined {
  if (end.hangs) return 'never ended';
  if (end.status === undefined) return end.rstCode === 0 ? 'ended without a status' : undefined;
  if (end.status === status.OK) return undefined;
  if (end.details === undefined) {
    return TRANSPORT_CODES.has(end.status) ? undefined : `status ${end.status} without details`;
  }
  const info = Status.decode(end.details).details.find(({ typeUrl }) =>
    typeUrl.endsWith('/google.rpc.ErrorInfo'),
  );
  if (!info) return `status ${end.status} without ErrorInfo`;
  const { reason, domain } = ErrorInfo.decode(info.value);
  if (domain !== 'salad-serve') return `domain ${domain}`;
  if (!Object.hasOwn(ERROR_REASONS, reason)) return `unknown reason ${reason}`;
  return reason === 'INTERNAL' || reason === 'ENGINE_FAILED' ? `reason ${reason}` : undefined;
}

describe('20,000 malformed streams', function () {
  this.timeout(240_000);
  let models: ModelsFolder;
  let server: ServeProcess;

  before(async () => {
    models = await smallModels();
    const settings = {
      // Admission must refuse no acquisition because of its waiting time.
      maxQueueMs: 600_000,
      overloadQueueRatio: 0,
      maxConcurrentAcquisitions: MAX_ACQUISITIONS,
      maxMessageBytes: 4 * 1024 * 1024,
      maxImagePixels: 1024 * 1024,
      idleTimeoutMs: 1000,
      // All streams come from one address, without pause.
      peerShareRatio: 0,
      peerCallsPerSecond: 0,
    };
    server = await startServeWith(models.path, settings, forcedCollections(COLLECT_EVERY_MS));
  });
  after(async () => {
    await server.stop('SIGKILL');
    await models.remove();
  });

  it('neither crash the server, nor leak, nor touch a good stream, and end with a known reason', async () => {
    const pid = server.process.pid as number;
    const client = new SaladClient(server.address, { retry: false });
    const complaints: string[] = [];
    const outcomes: Record<string, Record<string, number>> = {};
    const memory: number[] = [];
    let done = 0;
    let next = 0;
    const undisturbed = await scoreGood(client);
    const good = { count: 0 };

    const lane = async () => {
      let session: ClientHttp2Session | undefined;
      let used = 0;
      while (next < STREAMS) {
        if (!session || session.destroyed || used >= STREAMS_PER_CONNECTION / CONCURRENT) {
          session?.close();
          session = await connectRaw(server.address);
          used = 0;
        }
        used += 1;
        const end = await runFuzzed(session, next++);
        const wrong = complaint(end);
        if (wrong !== undefined) complaints.push(`${end.kind}, seed ${end.seed}: ${wrong}`);
        outcomes[end.kind] ??= {};
        const byStatus = outcomes[end.kind] as Record<string, number>;
        const name =
          end.status === undefined ? `rst ${end.rstCode}` : (status[end.status] ?? String(end.status));
        byStatus[name] = (byStatus[name] ?? 0) + 1;
        done += 1;
        if (done % 500 === 0 && done > WARM_UP) memory.push(rssBytes(pid));
      }
      session?.close();
    };
    const watch = async () => {
      while (done < STREAMS) {
        assert.deepEqual(await scoreGood(client), undisturbed);
        good.count += 1;
      }
    };
    const started = performance.now();
    await Promise.all([watch(), ...Array.from({ length: CONCURRENT }, lane)]);
    const seconds = (performance.now() - started) / 1000;
    client.close();

    const quarter = Math.floor(memory.length / 4);
    const growth = Math.min(...memory.slice(-quarter)) - Math.min(...memory.slice(0, quarter));
    console.log(
      `    ${STREAMS} streams in ${seconds.toFixed(0)} s, ${good.count} good acquisitions beside them, ` +
        `RSS ${(rssBytes(pid) / 2 ** 20).toFixed(0)} MiB, troughs ${(growth / 2 ** 20).toFixed(0)} MiB apart`,
    );
    for (const [kind, counts] of Object.entries(outcomes))
      console.log(`    ${kind}: ${JSON.stringify(counts)}`);
    assert.deepEqual(complaints.slice(0, 20), []);
    assert.equal(server.process.exitCode, null);
    assert.ok(good.count >= 20, `${good.count} good acquisitions`);
    assert.deepEqual(Object.keys(outcomes).sort(), Object.keys(DAMAGE).sort());
    assert.ok(growth < GROWTH_LIMIT_BYTES, `${growth} bytes`);
  });

  it('leave no acquisition open: as many as before are accepted', async () => {
    const session = await connectRaw(server.address);
    const accepted: Promise<boolean>[] = [];
    const streams = Array.from({ length: MAX_ACQUISITIONS }, (_, index) => {
      const stream = openRaw(session);
      // The first answer to an accepted header, or the end of a refused call.
      const outcome = new Promise<boolean>((resolve) => {
        stream.once('data', () => resolve(true));
        stream.once('close', () => resolve(false));
      });
      accepted.push(outcome);
      stream.write(
        frame(encode({ $case: 'header', value: AcquisitionHeader.fromPartial(smallHeader(`n${index}`)) })),
      );
      return stream;
    });
    const outcomes = await Promise.all(accepted);
    assert.equal(outcomes.filter((isAccepted) => isAccepted).length, MAX_ACQUISITIONS);
    for (const stream of streams) stream.close(8);
    session.close();
  });
});

async function scoreGood(client: SaladClient) {
  const patches = new PatchCollector();
  const aggregate = await client.scoreAcquisition(smallHeader('good'), smallRows(smallImage(9)), {
    timeoutMs: 30_000,
    onEvent: (event) => patches.take(event),
  });
  const scores = [...patches.scores].sort(([a], [b]) => (a < b ? -1 : 1));
  return { aggregate: essence(aggregate), scores };
}
