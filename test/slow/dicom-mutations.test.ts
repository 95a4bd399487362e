import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import {
  type DicomFileOptions,
  dicomFile,
  encodeFrames,
  JPEG_EXTENDED_12,
  type SyntaxName,
  testCells,
} from '../../bench/support/dicom-file.js';
import type { DicomDecoder } from '../../src/dicom/decoder/dicom-decoder.js';
import { createRandom } from '../../src/util/random.js';
import { builtDecoder } from '../support/dicom/built-dicom-decoder.js';

/** Damaged files per codec. 150 take about four minutes. */
const MUTATIONS = Number(process.env['SALAD_TEST_DICOM_MUTATIONS'] ?? 40);
const DEADLINE_MS = 1500;
/** Time to end the process, and for other work of the machine. */
const SLACK_MS = 3000;
const LIMITS = { maxPixels: 16 * 1024 * 1024 };

/** Reasons for which a damaged file may be refused; any other is a fault of the program. */
const REFUSALS = new Set([
  'IMAGE_UNREADABLE',
  'DICOM_UNSUPPORTED',
  'IMAGE_TOO_LARGE',
  'DECODING_LIMIT_EXCEEDED',
]);

const CODECS: readonly (readonly [SyntaxName, number])[] = [
  ['jpegBaseline', 8],
  ['jpegExtended', 12],
  ['jpegLossless', 12],
  ['jpegLosslessSv1', 16],
  ['jpegLsLossless', 12],
  ['jpegLsNear', 12],
  ['jpeg2000Lossless', 12],
  ['jpeg2000', 12],
  ['rle', 12],
];

async function fileOf(
  syntax: SyntaxName,
  bits: number,
): Promise<DicomFileOptions & { encoded: readonly Uint8Array[] }> {
  if (syntax === 'jpegExtended') {
    const { rows, columns, encoded } = JPEG_EXTENDED_12;
    return {
      syntax,
      rows,
      columns,
      cells: new Uint16Array(rows * columns),
      bitsStored: 12,
      encoded: [encoded],
    };
  }
  const [rows, columns] = [96, 80];
  const options = { syntax, rows, columns, cells: testCells(rows, columns, bits), bitsStored: bits };
  return { ...options, encoded: await encodeFrames(options) };
}

/** Flips bits, overwrites bytes, fills a block, or removes a piece of the compressed frame. */
function mutated(bytes: Uint8Array, random: () => number): Uint8Array {
  const at = () => Math.floor(random() * bytes.length);
  const copy = Uint8Array.from(bytes);
  const kind = random();
  if (kind < 0.4)
    for (let i = 1 + Math.floor(random() * 8); i > 0; i--) copy[at()]! ^= 1 << Math.floor(random() * 8);
  else if (kind < 0.7)
    for (let i = 1 + Math.floor(random() * 20); i > 0; i--) copy[at()] = Math.floor(random() * 256);
  else if (kind < 0.85) {
    const from = at();
    copy.fill(random() < 0.5 ? 0 : 255, from, from + Math.floor(random() * 200));
  } else {
    const [from, to] = [at(), at()].sort((a, b) => a - b) as [number, number];
    return Uint8Array.from([...bytes.subarray(0, from), ...bytes.subarray(to)]);
  }
  return copy;
}

describe('damaged DICOM files', function () {
  this.timeout(1_200_000);
  let decoder: DicomDecoder;

  before(async () => {
    decoder = new (await builtDecoder())({ processes: 1, deadlineMs: DEADLINE_MS });
  });
  after(() => decoder.close());

  async function decode(bytes: Uint8Array): Promise<Buffer> {
    const file = await decoder.open(bytes, LIMITS);
    try {
      return Buffer.from((await file.frame(0)).samples);
    } finally {
      file.close();
    }
  }

  for (const [syntax, bits] of CODECS) {
    it(`${syntax}: each of ${MUTATIONS} ends by its deadline, and the next intact file decodes exactly`, async () => {
      const options = await fileOf(syntax, bits);
      const whole = await dicomFile(options);
      const expected = await decode(whole);
      const random = createRandom(1000 + bits);
      let refused = 0;
      for (let i = 0; i < MUTATIONS; i++) {
        const damaged = await dicomFile({ ...options, encoded: [mutated(options.encoded[0]!, random)] });
        const started = performance.now();
        try {
          assert.equal((await decode(damaged)).length, expected.length);
        } catch (error) {
          refused += 1;
          const { reason } = error as { reason?: string };
          assert.ok(reason !== undefined && REFUSALS.has(reason), `mutation ${i}: ${String(error)}`);
        }
        const ms = performance.now() - started;
        assert.ok(ms < DEADLINE_MS + SLACK_MS, `mutation ${i} took ${ms} ms`);
        assert.ok((await decode(whole)).equals(expected), `after mutation ${i}`);
      }
      assert.ok(refused > 0);
    });
  }

  it('files with changed bytes in the header are decoded or refused', async () => {
    const options = await fileOf('jpegLosslessSv1', 12);
    const elements = {
      '00281050 DS': '100',
      '00283010 SQ': [{ '00283002 US': [2, 0, 8], '00283006 US': [1, 2] }],
    };
    const whole = await dicomFile({ ...options, elements });
    const random = createRandom(7);
    for (let i = 0; i < MUTATIONS; i++) {
      // Only bytes of the header: most of the file is the frame.
      const damaged = Uint8Array.from(whole);
      for (let n = 0; n < 3; n++) damaged[128 + Math.floor(random() * 500)] = Math.floor(random() * 256);
      await decode(damaged).catch((error: { reason?: string }) => {
        assert.ok(REFUSALS.has(error.reason ?? ''), String(error));
      });
    }
  });
});
