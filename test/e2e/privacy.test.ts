import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { saladUnder } from '../support/programs/salad.js';

describe('the home folder after an engine ran', function () {
  this.timeout(120_000);
  let home: string;

  before(() => {
    home = mkdtempSync(join(tmpdir(), 'salad-home-'));
  });
  after(() => rmSync(home, { recursive: true }));

  it('contains no identifier of the machine and no record of its use', async () => {
    const environment = { HOME: home, XDG_CACHE_HOME: join(home, '.cache') };
    const { code, lines } = await saladUnder(environment, 'models', 'verify', 'phantom', '--json');
    assert.equal(code, 0);
    assert.equal(lines[0]?.['engine'], 'onnx');
    const files = readdirSync(home, { recursive: true, encoding: 'utf8' });
    assert.deepEqual(
      files.filter((file) => /onnxruntime|deviceid|Microsoft/i.test(file)),
      [],
    );
  });
});
