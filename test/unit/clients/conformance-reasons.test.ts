import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { ERROR_REASONS } from '../../../src/errors/index.js';
import { CASES } from '../../slow/clients/conformance/cases.js';
import { UNREACHED } from '../../slow/clients/conformance/unreached.js';
import { root } from '../../support/root.js';

describe('the reasons of errors in the conformance of the clients', () => {
  const expected = new Set(
    CASES.flatMap(({ error, openInference }) => [error?.reason, openInference?.error?.reason]),
  );

  it('have a case each, or are in the list of those that no correct client gets', () => {
    for (const reason of Object.keys(ERROR_REASONS)) {
      assert.notEqual(expected.has(reason), reason in UNREACHED, reason);
    }
  });

  for (const [reason, { why, file, title }] of Object.entries(UNREACHED)) {
    it(`are shown by another test where they have no case: ${reason}`, () => {
      const text = readFileSync(join(root, file), 'utf8');
      assert.match(why, /^[A-Z].*\.$/);
      const start = text.indexOf(`'${title}'`);
      assert.ok(start >= 0, `${file} has no test '${title}'`);
      const [body = ''] = text.slice(start).split(/^ *it\(/m);
      assert.match(body, new RegExp(`\\b${reason}\\b`));
    });
  }
});
