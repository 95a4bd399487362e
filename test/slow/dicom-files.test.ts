import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import type { DicomDecoder } from '../../src/dicom/decoder/dicom-decoder.js';
import { builtDecoder } from '../support/dicom/built-dicom-decoder.js';
import { SHARED_DATA } from '../support/images/shared-data.js';

/** 23 public files of 11 transfer syntaxes. The manifest has the SHA-256 of the cells of all frames, decoded by other software. */
const DATA = join(SHARED_DATA, 'dicom');
const LIMITS = { maxPixels: 64 * 1024 * 1024 };

function manifest(): readonly { readonly file: string; readonly sha256: string }[] {
  const [header, ...lines] = readFileSync(join(DATA, 'manifest.tsv'), 'utf8').trim().split('\n');
  const columns = header!.split('\t');
  return lines.map((line) => {
    const cells = line.split('\t');
    const of = (name: string) => cells[columns.indexOf(name)]!;
    return { file: of('file'), sha256: of('decoded_sha256;min;max;mean').split(';')[0]! };
  });
}

describe('public DICOM files', function () {
  this.timeout(120_000);
  let decoder: DicomDecoder;

  // With no test in it, not even the name of this suite would be printed.
  if (!existsSync(DATA)) {
    it(`decode to the cells of the manifest: skipped, ${DATA} does not exist`);
    return;
  }

  before(async () => {
    decoder = new (await builtDecoder())();
  });
  after(() => decoder?.close());

  async function sha256Of(bytes: Uint8Array): Promise<string> {
    const file = await decoder.open(bytes, LIMITS);
    try {
      const hash = createHash('sha256');
      for (let frame = 0; frame < file.frames; frame++) hash.update((await file.frame(frame)).samples);
      return hash.digest('hex');
    } finally {
      file.close();
    }
  }

  for (const { file, sha256 } of manifest()) {
    it(`${file} decodes to the cells of the manifest, and is refused if it is cut`, async () => {
      const bytes = readFileSync(join(DATA, file));
      assert.equal(await sha256Of(bytes), sha256);
      for (const share of [0.5, 0.99]) {
        await assert.rejects(sha256Of(bytes.subarray(0, Math.floor(share * bytes.length))), {
          name: 'SaladError',
          reason: 'IMAGE_UNREADABLE',
        });
      }
    });
  }
});
