import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, before, describe, it } from 'mocha';
import { dicomFile, encodeFrames, testCells } from '../../bench/support/dicom-file.js';
import { DecoderProcess } from '../../src/dicom/decoder/decoder-process.js';
import { DicomDecoder } from '../../src/dicom/decoder/dicom-decoder.js';
import { SaladError } from '../../src/errors/index.js';

const LIMITS = { maxPixels: 64 * 1024 * 1024 };

const reason = (expected: SaladError['reason']) => (error: unknown) =>
  error instanceof SaladError && error.reason === expected;

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

async function untilEnded(pid: number): Promise<void> {
  for (let tries = 0; isRunning(pid) && tries < 500; tries++) await sleep(10);
  assert.ok(!isRunning(pid));
}

describe('DICOM decoder process', function () {
  this.timeout(60_000);
  const small = { rows: 40, columns: 48, cells: testCells(40, 48, 12), bitsStored: 12 };
  const cells = Buffer.from(small.cells.buffer);
  let decoder: DicomDecoder;
  let good: Uint8Array;
  let damaged: Uint8Array;
  let large: Uint8Array;

  before(async () => {
    decoder = new DicomDecoder({ processes: 1 });
    good = await dicomFile({ ...small, syntax: 'jpeg2000Lossless' });
    const [encoded] = await encodeFrames({ ...small, syntax: 'jpeg2000Lossless' });
    // All lengths are right, but the last half is missing, which only the codec detects.
    const half = Buffer.from(encoded!.subarray(0, Math.floor(encoded!.length / 2)));
    const tilePart = half.indexOf(Buffer.from('ff90', 'hex'));
    half.writeUInt32BE(half.length - tilePart, tilePart + 6);
    const broken = Buffer.concat([half, Buffer.from('ffd9', 'hex')]);
    damaged = await dicomFile({ ...small, syntax: 'jpeg2000Lossless', encoded: [broken] });
    const side = 1500;
    large = await dicomFile({
      ...{ rows: side, columns: side, cells: testCells(side, side, 12), bitsStored: 12 },
      syntax: 'jpeg2000Lossless',
    });
  });
  after(() => decoder.close());

  async function decode(file: Uint8Array, by = decoder): Promise<Uint8Array> {
    const opened = await by.open(file, LIMITS);
    try {
      return (await opened.frame(0)).samples;
    } finally {
      opened.close();
    }
  }

  it('is reused after success and discarded after any error; the next image is exact', async () => {
    assert.deepEqual(Buffer.from(await decode(good)), cells);
    const [first] = decoder.pids;
    assert.deepEqual(Buffer.from(await decode(good)), cells);
    assert.deepEqual(decoder.pids, [first]);
    await assert.rejects(decode(damaged), reason('IMAGE_UNREADABLE'));
    await untilEnded(first!);
    assert.deepEqual(Buffer.from(await decode(good)), cells);
    assert.notEqual(decoder.pids[0], first);
    await assert.rejects(decode(good.subarray(0, 300)), reason('IMAGE_UNREADABLE'));
    assert.deepEqual(Buffer.from(await decode(good)), cells);
  });

  it('reads a file itself, and refuses one that is cut or gone, without its path in the message', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'salad-decoder-'));
    try {
      const path = join(folder, 'image.dcm');
      writeFileSync(path, good);
      const opened = await decoder.openFile(path, LIMITS);
      assert.deepEqual(Buffer.from((await opened.frame(0)).samples), cells);
      opened.close();
      writeFileSync(path, good.subarray(0, 300));
      await assert.rejects(decoder.openFile(path, LIMITS), reason('IMAGE_UNREADABLE'));
      const process = await DecoderProcess.start();
      const request = { type: 'open', options: { maxPixels: 1e6 }, growthBytesMax: 2 ** 30 } as const;
      const read = (file: { path: string; bytes: number }) =>
        process.request({ ...request, file }, new Uint8Array(0), 30_000);
      await assert.rejects(read({ path, bytes: good.length }), reason('IMAGE_UNREADABLE'));
      const other = await DecoderProcess.start();
      await assert.rejects(
        other.request(
          { ...request, file: { path: join(folder, 'gone.dcm'), bytes: 1 } },
          new Uint8Array(0),
          30_000,
        ),
        (error: Error) => /cannot be read: ENOENT$/.test(error.message),
      );
      await assert.rejects(decoder.openFile(join(folder, 'gone.dcm'), LIMITS), /ENOENT/);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('decodes the other frames of a file with a damaged frame', async () => {
    const options = { ...small, syntax: 'jpeg2000Lossless' } as const;
    const [encoded] = await encodeFrames(options);
    const twice = Uint16Array.from([...small.cells, ...small.cells]);
    const file = await dicomFile({
      ...options,
      frames: 2,
      cells: twice,
      encoded: [encoded!.slice(0, 400), encoded!],
    });
    const opened = await decoder.open(file, LIMITS);
    await assert.rejects(opened.frame(0), reason('IMAGE_UNREADABLE'));
    assert.deepEqual(Buffer.from((await opened.frame(1)).samples), cells);
    opened.close();
  });

  it('is ended at its deadline', async () => {
    const hurried = new DicomDecoder({ deadlineMs: 40 });
    // The limit applies to opening, too.
    await assert.rejects(decode(large, hurried), reason('DECODING_LIMIT_EXCEEDED'));
    await hurried.close();
  });

  it('is ended if it exceeds its memory limit', async () => {
    const process = await DecoderProcess.start();
    const none = new Uint8Array(0);
    const options = { maxPixels: LIMITS.maxPixels };
    await process.request({ type: 'open', options, growthBytesMax: 2 ** 30 }, large, 30_000);
    await assert.rejects(
      process.request({ type: 'frame', frame: 0, growthBytesMax: 2 ** 20 }, none, 30_000),
      (error) => error instanceof SaladError && /more memory/.test(error.message),
    );
    await process.whenExited();
  });

  it('is ended if the caller aborts; aborted callers leave the queue', async () => {
    const abort = new AbortController();
    const opened = await decoder.open(large, LIMITS);
    const waiting = decoder.open(good, { ...LIMITS, signal: abort.signal });
    const decoding = opened.frame(0, { signal: abort.signal });
    abort.abort(new SaladError('DEADLINE_EXCEEDED', 'too late'));
    await assert.rejects(decoding, reason('DEADLINE_EXCEEDED'));
    await assert.rejects(waiting, reason('DEADLINE_EXCEEDED'));
    opened.close();
    assert.deepEqual(Buffer.from(await decode(good)), cells);
  });

  it('decodes files one after the other, in order', async () => {
    const order: number[] = [];
    await Promise.all([1, 2, 3].map((i) => decode(good).then(() => order.push(i))));
    assert.deepEqual(order, [1, 2, 3]);
    assert.equal(decoder.pids.length, 1);
  });

  it('reserves memory before it decodes', async () => {
    const opened = await decoder.open(good, LIMITS);
    const [pid] = decoder.pids;
    const reserve = (bytes: number) => {
      assert.ok(bytes > 40 * 48 * 2);
      throw new SaladError('OVERLOADED', 'no room');
    };
    await assert.rejects(opened.frame(0, { reserve }), reason('OVERLOADED'));
    assert.equal((await opened.frame(0)).samples.length, cells.length);
    assert.deepEqual(decoder.pids, [pid]);
    opened.close();
  });

  it('ends after the idle time, and when its decoder is closed', async () => {
    const brief = new DicomDecoder({ idleMs: 50 });
    await decode(good, brief);
    await untilEnded(brief.pids[0]!);
    const opened = await brief.open(good, LIMITS);
    const [pid] = brief.pids;
    const decoding = opened.frame(0);
    const rejected = assert.rejects(decoding, SaladError);
    await brief.close();
    await rejected;
    await untilEnded(pid!);
    await assert.rejects(brief.open(good, LIMITS), reason('CANCELLED'));
  });
});
