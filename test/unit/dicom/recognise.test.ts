import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import sharp from 'sharp';
import { dicomFile, testCells } from '../../../bench/support/dicom-file.js';
import { DicomImage } from '../../../src/dicom/decode.js';
import { isDicom, isDicomFile } from '../../../src/dicom/recognise.js';

const OPTIONS = { rows: 8, columns: 8, cells: testCells(8, 8, 8) };

describe('DICOM files', () => {
  it('are recognised by their content, with and without prefix', async () => {
    for (const syntax of ['implicit', 'explicit', 'bigEndian', 'rle'] as const) {
      assert.ok(isDicom(await dicomFile({ ...OPTIONS, syntax })), syntax);
    }
    assert.ok(isDicom(await dicomFile({ ...OPTIONS, syntax: 'implicit', bare: true })));
    assert.ok(isDicom(await dicomFile({ ...OPTIONS, bare: true })));
  });

  it('are distinguished from other files', async () => {
    const raw = { width: 8, height: 8, channels: 1 } as const;
    const image = sharp(OPTIONS.cells, { raw });
    assert.ok(!isDicom(await image.clone().png().toBuffer()));
    assert.ok(!isDicom(await image.clone().jpeg().toBuffer()));
    for (const text of ['', 'DICM', 'a plain text of more than sixteen bytes', '\b\0'.repeat(100)]) {
      assert.ok(!isDicom(Buffer.from(text)), text);
    }
  });

  it('are recognised on disk by their prefix', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'salad-recognise-'));
    writeFileSync(join(folder, 'a'), await dicomFile(OPTIONS));
    writeFileSync(join(folder, 'b'), 'short');
    assert.deepEqual(
      await Promise.all(['a', 'b', 'missing', '.'].map((name) => isDicomFile(join(folder, name)))),
      [true, false, false, false],
    );
    rmSync(folder, { recursive: true });
  });

  it('yield instance and view only as values that cannot hold a name', async () => {
    const elements = {
      '00100010 PN': 'DOE^JOHN',
      '00100020 LO': '4711',
      '00185101 CS': 'MLO',
      '00200020 CS': 'P\\FL',
      '00200060 CS': 'R',
      '00200062 CS': 'L',
    };
    const read = async (more: object) =>
      new DicomImage(await dicomFile({ ...OPTIONS, elements: { ...elements, ...more } }), { maxPixels: 100 })
        .description;
    const { instance, patientKey } = await read({});
    assert.deepEqual(instance, {
      sopInstanceUid: '1.2.3.4.5',
      laterality: 'L',
      view: 'MLO',
      orientation: 'P\\FL',
    });
    assert.match(patientKey ?? '', /^[0-9a-f]{64}$/);
    assert.notEqual((await read({ '00100021 LO': 'other' })).patientKey, patientKey);
    assert.equal((await read({ '00100020 LO': '' })).patientKey, undefined);
    const doe = { '00080018 UI': 'DOE', '00185101 CS': 'DOE', '00200020 CS': 'DOE', '00200062 CS': 'DOE' };
    assert.deepEqual((await read({ ...doe, '00080060 CS': 'DOE' })).instance, {
      ...{ sopInstanceUid: null, laterality: null, view: null, orientation: null },
    });
  });
});
