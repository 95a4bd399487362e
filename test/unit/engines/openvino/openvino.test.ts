import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { bestEngine, ladder } from '../../../../src/engines/selection/select.js';

describe("OpenVINO's library", () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'salad-openvino-'));
  });
  after(() => rm(folder, { recursive: true }));

  const rungsOf = (preference: 'auto' | 'openvino') =>
    ladder(preference, undefined, { openvinoFolder: folder });

  it('that is not where it was said to be: the next engine serves, with the reason', async () => {
    const rungs = await rungsOf('auto');
    const rung = rungs.find(({ name }) => name === 'openvino')!;
    assert.ok(!rung.usable);
    assert.match(rung.reason ?? '', /openvino does not load: there is no libopenvino_c in /);
    assert.notEqual(bestEngine(rungs), 'openvino');
  });

  it('that is broken: the reason has the words of the loader', async () => {
    await writeFile(join(folder, 'libopenvino_c.so.1'), 'no library');
    const [rung] = await rungsOf('openvino');
    assert.ok(!rung!.usable);
    assert.match(rung!.reason ?? '', /openvino does not load: .*(too short|invalid|not a|ELF)/i);
  });
}).timeout(60_000);
