import assert from 'node:assert/strict';
import { BinaryWriter } from '@bufbuild/protobuf/wire';
import { describe, it } from 'mocha';
import { StreamAcquisitionRequest } from '../../../src/gen/salad/v1/anomaly_scoring.js';
import { AcquisitionHeader, Source, VoiLut } from '../../../src/gen/salad/v1/types.js';
import { BoundedReader } from '../../../src/limits/bounded-reader.js';
import { createMethodLimits } from '../../../src/limits/method-limits.js';

const INVALID = { reason: 'MESSAGE_INVALID' };
const limits = createMethodLimits({ maxMessageBytes: 64 * 1024 * 1024, maxTiles: () => 16 })(
  '/salad.v1.AnomalyScoring/StreamAcquisition',
);
const encode = (payload: NonNullable<StreamAcquisitionRequest['payload']>) =>
  StreamAcquisitionRequest.encode({ payload }).finish();

describe('BoundedReader', () => {
  it('decodes a message to the same value as the default reader', () => {
    const header = AcquisitionHeader.fromPartial({
      acquisitionId: 'a1',
      model: { name: 'small', version: 3 },
      image: {
        rows: 3,
        columns: 4,
        bitsAllocated: 16,
        rescaleSlope: -0.5,
        voi: {
          transform: { $case: 'lut', value: { firstValue: -7, bitsPerEntry: 8, entries: [1, 300, 70_000] } },
        },
      },
      source: Source.SOURCE_ROWS,
    });
    const message = encode({ $case: 'header', value: header });
    assert.deepEqual(limits.decode?.(message, true), StreamAcquisitionRequest.decode(message));
  });

  it('accepts the longest valid look-up table, with a tag for each entry, and refuses a much longer one', () => {
    const table = (entries: number) => {
      const writer = new BinaryWriter();
      for (let index = 0; index < entries; index++) writer.uint32(24).uint32(65_535);
      const lut = writer.finish();
      const wrap = (field: number, value: Uint8Array) =>
        new BinaryWriter()
          .uint32((field << 3) | 2)
          .bytes(value)
          .finish();
      return wrap(1, wrap(3, wrap(9, wrap(2, lut))));
    };
    const decoded = limits.decode?.(table(65_536), true) as StreamAcquisitionRequest;
    assert.equal(decoded.payload?.$case, 'header');
    assert.ok(table(65_536).byteLength < limits.firstMessageBytes);
    assert.throws(() => limits.decode?.(table(67_000), true), INVALID);
  });

  it('stops at the first tile above the limit, before millions of tiles are created', () => {
    const tiles = (count: number) =>
      encode({
        $case: 'tiles',
        value: {
          tiles: Array.from({ length: count }, () => ({ row: 3, column: 3, samples: new Uint8Array(9) })),
        },
      });
    assert.ok(limits.decode?.(tiles(16), false));
    assert.throws(() => limits.decode?.(tiles(100), false), INVALID);
    // 20 million empty tiles, 40 MB.
    const empty = Buffer.alloc(40_000_000);
    for (let at = 0; at < empty.length; at += 2) empty[at] = 10;
    const bomb = new BinaryWriter().uint32(26).bytes(empty).finish();
    const before = process.memoryUsage().heapUsed;
    assert.throws(() => limits.decode?.(bomb, false), INVALID);
    assert.ok(process.memoryUsage().heapUsed - before < 20_000_000);
  });

  it('counts every integer of a packed field', () => {
    const lut = VoiLut.encode({
      firstValue: 0,
      bitsPerEntry: 8,
      entries: new Array<number>(50).fill(1),
    }).finish();
    assert.throws(() => VoiLut.decode(new BoundedReader(lut, 40)), INVALID);
    assert.equal(VoiLut.decode(new BoundedReader(lut, 60)).entries.length, 50);
  });

  it('refuses text fields and integers that are longer than any valid one', () => {
    const text = new BinaryWriter().uint32(10).string('n'.repeat(5000)).finish();
    assert.throws(() => AcquisitionHeader.decode(new BoundedReader(text, 100)), INVALID);
    // An unknown field whose integer has no last byte.
    const endless = Buffer.alloc(1000, 0x80);
    endless[0] = 15 << 3;
    assert.throws(() => AcquisitionHeader.decode(new BoundedReader(endless, 100)), INVALID);
  });
});
