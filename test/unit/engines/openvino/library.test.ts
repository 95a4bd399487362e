import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { bestEngine, checkEngines } from '../../../../src/engines/selection/select.js';

describe("OpenVINO's library", () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'salad-openvino-'));
  });
  after(() => rm(folder, { recursive: true }));

  const reportsOf = (preference: 'auto' | 'openvino') =>
    checkEngines(preference, undefined, { openvinoFolder: folder });

  it('is reported with the reason where its folder is empty, and another engine is chosen', async () => {
    const reports = await reportsOf('auto');
    const report = reports.find(({ name }) => name === 'openvino')!;
    assert.ok(!report.usable);
    assert.match(report.reason ?? '', /openvino does not load: there is no libopenvino_c in /);
    assert.notEqual(bestEngine(reports).name, 'openvino');
  });

  it('is reported with the message of the loader where it is broken', async () => {
    await writeFile(join(folder, 'libopenvino_c.so.1'), 'no library');
    const [report] = await reportsOf('openvino');
    assert.ok(!report!.usable);
    assert.match(report!.reason ?? '', /openvino does not load: .*(too short|invalid|not a|ELF)/i);
  });
}).timeout(60_000);
