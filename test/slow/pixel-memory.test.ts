/** The memory of open acquisitions whose headers ask for much, beside what they reserve (src/acquisition/footprint.ts). */
import assert from 'node:assert/strict';
import type { ClientHttp2Session } from 'node:http2';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, before, describe, it } from 'mocha';
import sharp from 'sharp';
import { SaladClient } from '../../clients/typescript/src/index.js';
import { acquisitionBytes } from '../../src/acquisition/footprint.js';
import { type Bundle, readBundle } from '../../src/bundle/bundle.js';
import { AcquisitionHeader } from '../../src/gen/salad/v1/types.js';
import { defaultPixelFormat, type PixelFormat } from '../../src/imaging/pixel-format/pixel-format.js';
import { eventually } from '../support/eventually.js';
import { forcedCollections, settledRssBytes } from '../support/measurements/process-memory.js';
import { type ServeProcess, startServeUnder } from '../support/programs/salad.js';
import { connectRaw, encode, frame, openRaw } from '../support/protocol/raw-grpc.js';
import { root } from '../support/root.js';

const MIB = 1024 * 1024;
/** docs/explanation/memory.md: a stream beside its acquisition, and what V8 has not collected yet. */
const BYTES_PER_STREAM = 64 * 1024;
const GARBAGE_BYTES = 96 * MIB;
const STREAMS = 150;

const OPTIONS = {
  patchScores: true,
  anomalyMap: 'none',
  embeddings: false,
  nearestPrototypes: 0,
  maxFalsePositiveRate: 0.05,
  earlyEnd: 'fail',
  topPatches: 5,
} as const;

describe('the memory of open acquisitions', function () {
  this.timeout(240_000);
  let server: ServeProcess;
  let pid: number;
  let bundle: Bundle;

  before(async () => {
    bundle = await readBundle(join(root, 'models/chest-pediatric/1'));
    server = await startServeUnder(
      { nodeFlags: forcedCollections(500), environment: { SALAD_LOG_LEVEL: 'silent' } },
      ...['--engine', 'onnx', '--workers', '1'],
    );
    pid = server.process.pid as number;
  });
  after(() => server.stop('SIGKILL'));

  const headerOf = (id: string, image: Record<string, unknown>) =>
    frame(
      encode({
        $case: 'header',
        value: AcquisitionHeader.fromPartial({
          acquisitionId: id,
          model: { name: 'chest-pediatric' },
          source: 1,
          image,
        } as never),
      }),
    );

  async function scoreOne(): Promise<void> {
    const client = new SaladClient(server.address, { retry: false });
    const raw = Uint8Array.from({ length: 128 * 128 }, (_, i) => (i * 7919) & 255);
    const image = { rows: 128, columns: 128, bitsAllocated: 8 };
    const header = { acquisitionId: 'good', model: { name: 'chest-pediatric' }, image };
    assert.equal((await client.scoreImage(header, { raw }, { timeoutMs: 20_000 })).coverage?.scored, 36);
    client.close();
  }

  /** RSS above idle while so many acquisitions are open and half of each has been sent. */
  async function grown(image: Record<string, unknown>, rows: number, rowBytes: number): Promise<number> {
    await scoreOne();
    const idle = await settledRssBytes(pid);
    const sessions: ClientHttp2Session[] = [];
    let accepted = 0;
    for (let connection = 0; connection < 3; connection++) {
      const session = await connectRaw(server.address);
      sessions.push(session);
      for (let index = 0; index < STREAMS / 3; index++) {
        const stream = openRaw(session);
        stream.once('data', () => {
          accepted += 1;
        });
        stream.write(headerOf(`open-${connection}-${index}`, image));
        const samples = new Uint8Array(Math.floor(rows / 2) * rowBytes);
        // One after another: Node's own client refuses to hold many megabytes that wait to be sent.
        const message = frame(encode({ $case: 'rows', value: { firstRow: 0, samples } }));
        await new Promise((taken) => stream.write(message, taken));
      }
    }
    await eventually(() => assert.equal(accepted, STREAMS));
    const result = (await settledRssBytes(pid)) - idle;
    for (const session of sessions) session.destroy();
    await scoreOne();
    return result;
  }

  const cases: readonly (readonly [string, PixelFormat, Record<string, unknown>])[] = [
    ['as tall as can be', defaultPixelFormat(65_535, 16, 8), { rows: 65_535, columns: 16, bitsAllocated: 8 }],
    ['as wide as can be', defaultPixelFormat(16, 65_535, 8), { rows: 16, columns: 65_535, bitsAllocated: 8 }],
    [
      'with look-up tables of 65,536 entries',
      {
        ...defaultPixelFormat(64, 64, 16),
        voi: { kind: 'lut', firstValue: 0, bitsPerEntry: 16, entries: new Uint16Array(65_536) },
      },
      {
        rows: 64,
        columns: 64,
        bitsAllocated: 16,
        voi: {
          transform: {
            $case: 'lut',
            value: { firstValue: 0, bitsPerEntry: 16, entries: Array.from({ length: 65_536 }, (_, i) => i) },
          },
        },
      },
    ],
  ];
  for (const [what, format, image] of cases) {
    it(`stays under the formula: ${what}`, async () => {
      const acquisition = acquisitionBytes(bundle, { format, source: 'rows', options: OPTIONS });
      const rowBytes = (format.columns * format.bitsAllocated) / 8;
      const taken = await grown(image, format.rows, rowBytes);
      // Every stream holds the message it has read last.
      const message = Math.floor(format.rows / 2) * rowBytes;
      const allowed = STREAMS * (acquisition + message + BYTES_PER_STREAM) + GARBAGE_BYTES;
      console.log(
        `      ${(taken / MIB).toFixed(0)} MiB of ${STREAMS}, ${(allowed / MIB).toFixed(0)} allowed, ` +
          `${(acquisition / MIB).toFixed(2)} each`,
      );
      assert.ok(taken <= allowed, `${taken} bytes, ${allowed} allowed`);
    });
  }

  it('is not used by images whose calls were cancelled while they waited for decoding', async () => {
    const side = 3000;
    const raw = { raw: { width: side, height: side, channels: 3 } } as const;
    const file = await sharp(Buffer.alloc(3 * side * side, 90), raw)
      .jpeg({ progressive: true })
      .toBuffer();
    const client = new SaladClient(server.address, { retry: false });
    const header = { acquisitionId: 'large', model: { name: 'chest-pediatric' } };
    const time = async (work: () => Promise<unknown>) => {
      const started = performance.now();
      await work();
      return performance.now() - started;
    };
    const score = (signal?: AbortSignal) =>
      client.scoreImage(header, { encoded: file }, signal ? { signal } : {}).catch(() => undefined);
    await score();
    const alone = await time(() => score());
    const controllers = Array.from({ length: 40 }, () => new AbortController());
    const cancelled = controllers.map(({ signal }) => score(signal));
    await sleep(50);
    for (const controller of controllers) controller.abort();
    await Promise.all(cancelled);
    const behind = await time(() => score());
    client.close();
    console.log(`      ${alone.toFixed(0)} ms alone, ${behind.toFixed(0)} ms behind 40 cancelled ones`);
    // At most four were being decoded; the others were never begun.
    assert.ok(behind < 12 * alone, `${behind} ms, ${alone} ms alone`);
  });
});
