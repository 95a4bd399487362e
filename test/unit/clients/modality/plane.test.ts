import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'mocha';
import { dicomFile, type Elements, testCells } from '../../../../bench/support/dicom-file.js';
import { type Plane, planeOf } from '../../../../clients/modality/src/results/plane.js';
import { readSourceHeader } from '../../../../clients/modality/src/results/source-header.js';

const ASSUMED = '1\\0\\0\\0\\1\\0';
const SAGITTAL = '0\\1\\0\\0\\0\\-1';

describe('plane of a segmentation', () => {
  const folder = mkdtempSync(join(tmpdir(), 'salad-plane-'));
  after(() => rmSync(folder, { recursive: true }));

  async function plane(elements: Elements): Promise<Plane> {
    const path = join(folder, 'source.dcm');
    const own = {
      ...{ '00080016 UI': '1.2.840.10008.5.1.4.1.1.1.1', '00080018 UI': '1.2.3' },
      ...{ '0020000D UI': '1.2.5', '0020000E UI': '1.2.6' },
    };
    const image = { rows: 8, columns: 8, cells: testCells(8, 8, 12), bitsStored: 12 };
    writeFileSync(path, await dicomFile({ ...image, elements: { ...own, ...elements } }));
    return planeOf(await readSourceHeader(path), [1], () => '2.25.1');
  }

  it('is that of the source', async () => {
    const elements = { '00200032 DS': '1.5\\-2\\3', '00200037 DS': SAGITTAL };
    const found = { orientation: SAGITTAL, positions: ['1.5\\-2\\3'] };
    assert.deepEqual(await plane({ ...elements, '00200052 UI': '1.2.9' }), {
      ...found,
      frameOfReferenceUid: '1.2.9',
    });
    assert.deepEqual(await plane(elements), { ...found, frameOfReferenceUid: '2.25.1' });
  });

  it('is the one that viewers assume of a projection, whatever its patient orientation', async () => {
    const assumed = { orientation: ASSUMED, positions: ['0\\0\\0'], frameOfReferenceUid: '2.25.1' };
    assert.deepEqual(await plane({}), assumed);
    assert.deepEqual(await plane({ '00200020 CS': 'R\\F', '00200052 UI': '1.2.9' }), assumed);
    assert.deepEqual(await plane({ '00200037 DS': SAGITTAL, '00200052 UI': '1.2.9' }), assumed);
  });
});
