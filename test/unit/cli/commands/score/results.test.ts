import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import {
  aggregateJson,
  CSV_HEADER,
  csvOf,
  type ImageResult,
  scoreTable,
  summaryOf,
} from '../../../../../src/cli/commands/score/results.js';
import { table } from '../../../../../src/cli/shared/output.js';
import { AcquisitionAggregate, Decision, WarningKind } from '../../../../../src/gen/salad/v1/types.js';

function scored(file: string, decision: Decision, warnings: readonly string[] = []) {
  const aggregate = AcquisitionAggregate.fromPartial({
    acquisitionId: 'one',
    model: { name: 'small', version: 3 },
    engines: ['onnx'],
    imageScore: 4.25,
    pValue: 0.01,
    threshold: 4,
    decision,
    coverage: { scored: 60, skipped: 1, failed: 2, missing: 1 },
    topPatches: [{ row: 1, column: 2, score: 9, box: { top: 16, left: 32, bottom: 32, right: 48 } }],
    warnings: warnings.map((message) => ({ kind: WarningKind.WARNING_KIND_UNSPECIFIED, message })),
  });
  return { file, aggregate, latencyMs: 12.34 };
}

const FAILED: ImageResult = {
  file: 'broken.png',
  failure: { status: 'INVALID_ARGUMENT', reason: 'IMAGE_UNREADABLE', message: 'no image' },
};
const { DECISION_ANOMALOUS, DECISION_INDETERMINATE, DECISION_NORMAL } = Decision;

describe('results of salad score', () => {
  it('as a table show failed and missing patches, warnings and failures', () => {
    const lines = scoreTable([scored('a.png', DECISION_ANOMALOUS, ['blank', 'small']), FAILED]).split('\n');
    assert.deepEqual(
      lines.map((line) => line.split(/ {2,}/)),
      [
        ['file', 'score', 'p-value', 'decision', 'patches', 'ms', 'warnings'],
        ['a.png', '4.250', '0.0100', 'anomalous', '60, 2 failed, 1 missing', '12', 'blank; small'],
        ['broken.png', '-', '-', 'failed', '-', '-', 'no image'],
      ],
    );
  });

  it('as a summary count the images that were not scored', () => {
    const results = [scored('a.png', DECISION_NORMAL), scored('b.png', DECISION_NORMAL), FAILED];
    assert.equal(summaryOf(results, 3), '3 images: 2 normal, 1 failed');
    assert.equal(summaryOf(results, 8), '8 images: 2 normal, 1 failed, 5 not scored');
  });

  it('as CSV are one line per image with as many cells as the header', () => {
    assert.equal(
      csvOf(scored('a.png', DECISION_ANOMALOUS, ['blank, at all'])),
      'a.png,small@3,4.25,0.01,4,anomalous,60,1,2,1,16,32,32,48,12.3,"blank, at all",,,,,\n',
    );
    assert.equal(csvOf(FAILED).split(',').length, CSV_HEADER.split(',').length);
    assert.equal(csvOf({ ...FAILED, file: 'a "b"\n.png' }).slice(0, 16), '"a ""b""\n.png",,');
  });

  it('as JSON are neither anomalous nor normal if the decision is indeterminate', () => {
    const json = aggregateJson(scored('a.png', DECISION_INDETERMINATE));
    assert.deepEqual([json['anomalous'], json['decision']], [null, 'indeterminate']);
  });
});

describe('table', () => {
  it('escapes control characters', () => {
    assert.equal(table(['name', 'x'], [['a\n\u001b[31mb', 'c']]), 'name          x\na\\n\\x1b[31mb  c');
  });

  it('wraps the last column at the width of the screen, or moves it to lines of its own', () => {
    const rows = [['a', 'one two three four five six']];
    assert.equal(table(['n', 'text'], rows, 24), 'n  text\na  one two three four\n   five six');
    assert.equal(table(['n', 'text'], rows, 16), 'n  text\na\n    one two\n    three four\n    five six');
  });

  it('is empty without rows', () => {
    assert.equal(table(['a', 'b'], []), '');
  });
});
