/** Every client does alike what a client must do, and gets the scores that the .proto files alone lead to. */
import assert from 'node:assert/strict';
import { before, describe, it } from 'mocha';
import { CASES, concerns } from '../clients/conformance/cases.js';
import { isPassed, runConformance, type Verdict } from '../clients/conformance/runner.js';
import { SUBJECTS } from '../clients/conformance/subjects.js';

describe('the conformance of the clients', function () {
  this.timeout(600_000);
  let verdicts: Verdict[];
  before(async () => {
    verdicts = await runConformance();
  });

  for (const subject of SUBJECTS) {
    it(`is complete: ${subject}`, () => {
      const own = verdicts.filter((verdict) => verdict.subject === subject);
      assert.equal(own.length, CASES.filter((one) => concerns(one, subject)).length);
      assert.deepEqual(
        own.filter((verdict) => !isPassed(verdict)),
        [],
      );
    });
  }
});
