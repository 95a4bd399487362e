/** Delivery by STOW-RS, to Debian's Orthanc with its DICOMweb plugin. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { dicomFile, testCells } from '../../../bench/support/dicom-file.js';
import { freePort } from '../../../bench/support/free-port.js';
import { storeByStow } from '../../../clients/modality/src/delivery/stow-client.js';
import { buildReport } from '../../../clients/modality/src/results/report.js';
import type { ResultObject } from '../../../clients/modality/src/results/result-object.js';
import { readSourceHeader } from '../../../clients/modality/src/results/source-header.js';
import { needs } from '../../support/dicom/dicom-programs.js';
import { Orthanc } from '../../support/dicom/orthanc.js';

describe('delivery by STOW-RS', function () {
  this.timeout(60_000);
  let folder: string;
  let archive: Orthanc;
  let report: ResultObject;

  before(async function () {
    await needs(this, 'Orthanc');
    folder = mkdtempSync(join(tmpdir(), 'salad-stow-out-'));
    const source = join(folder, 'source.dcm');
    const identity = {
      ...{ '00080016 UI': '1.2.840.10008.5.1.4.1.1.1.1', '00080018 UI': '1.2.3', '00100020 LO': 'PAT-1' },
      ...{ '0020000D UI': '1.2.5', '0020000E UI': '1.2.6' },
    };
    const image = { rows: 40, columns: 48, cells: testCells(40, 48, 12), bitsStored: 12 };
    writeFileSync(source, await dicomFile({ ...image, elements: identity }));
    const result = { scoredMs: 1.7e12, rows: 40, columns: 48, frames: [] };
    report = buildReport(await readSourceHeader(source), result);
    archive = new Orthanc(join(folder, 'orthanc'), await freePort(), await freePort());
    await archive.start();
  });
  after(async () => {
    await archive?.kill();
    if (folder !== undefined) rmSync(folder, { recursive: true });
  });

  const send = (object: Pick<ResultObject, 'bytes' | 'sopInstanceUid'>) =>
    storeByStow({ url: archive.dicomWeb, timeoutMs: 10_000 }, object, new AbortController().signal);

  it('ends when the answer names the object as stored, also the second time', async () => {
    for (let time = 0; time < 2; time++) {
      assert.deepEqual(await send(report), { result: 'delivered', reason: 'HTTP 200' });
    }
    assert.deepEqual(await archive.instances('SR'), [report.sopInstanceUid]);
  });

  it('does not end where the answer names another object, or none', async () => {
    const { result, reason } = await send({ bytes: report.bytes, sopInstanceUid: '1.2.9' });
    assert.deepEqual(
      [result, reason],
      ['unavailable', 'HTTP 200, and the answer does not name the object as stored'],
    );
    const none = await send({ bytes: Buffer.from('no DICOM file'), sopInstanceUid: '1.2.9' });
    assert.notEqual(none.result, 'delivered');
  });
});
