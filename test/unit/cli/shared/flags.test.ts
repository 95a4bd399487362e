import assert from 'node:assert/strict';
import { InvalidArgumentError } from 'commander';
import { describe, it } from 'mocha';
import { numberBetween, numberFrom, wholeNumber } from '../../../../src/cli/shared/flags.js';
import { runSalad } from '../../../support/programs/in-process-salad.js';

describe('numbers on the command line', () => {
  it('are accepted as decimal numbers within their range', () => {
    assert.equal(wholeNumber(0, 10)('10'), 10);
    assert.equal(wholeNumber(-5, 10)('-5'), -5);
    assert.equal(wholeNumber(1, 1_000_000)('1e3'), 1000);
    assert.equal(numberFrom(0, 1)('0.25'), 0.25);
    assert.equal(numberFrom(0, 1)('.5'), 0.5);
    assert.equal(numberBetween(0, 1)('1e-9'), 1e-9);
  });

  it('are refused otherwise, with a message that names the range', () => {
    const refused = (parse: (text: string) => number, ...texts: string[]) => {
      for (const text of texts) {
        assert.throws(
          () => parse(text),
          (error) => error instanceof InvalidArgumentError && /number (from|above) 0/.test(error.message),
          JSON.stringify(text),
        );
      }
    };
    const noNumbers = ['', ' ', 'abc', '1x', '0x10', '1,5', 'NaN', 'Infinity', '1e999', '--1'];
    refused(wholeNumber(0, 10), ...noNumbers, '1.5', '-1', '11');
    refused(numberFrom(0, 10), ...noNumbers, '-0.1', '10.1');
    refused(numberBetween(0, 1), ...noNumbers, '0', '1', '-1');
  });

  const WRONG_USAGE: readonly (readonly string[])[] = [
    ['score', 'x.png', '--timeout-ms', 'abc'],
    ['score', 'x.png', '--timeout-ms', '0'],
    ['score', 'x.png', '--max-false-positive-rate', 'abc'],
    ['score', 'x.png', '--max-false-positive-rate', '1'],
    ['score', 'x.png', '--mode', 'rows', '--rows-per-second', 'abc'],
    ['score', 'x.png', '--mode', 'rows', '--rows-per-second', '-5'],
    ['demo', '--seed', 'abc'],
    ['demo', '--rows-per-second', '-1'],
    ['load', '--streams', '1.5'],
    ['load', '--rate', '0'],
    ['load', '--duration', 'soon'],
    ['load', '--size', '8'],
    ['phantom', '--out', 'x', '--count', '0'],
    ['phantom', '--count', '2', '--out', 'x', '--seed', '2147483647'],
    ['train', '--data', 'x', '--out', 'y', '--seed', 'abc'],
    ['calibrate', '--model', 'phantom', '--data', 'x', '--out', 'y', '--seed', '-1'],
    ['evaluate', '--model', 'phantom', '--data', 'x', '--top', '501'],
    ['serve', '--workers', 'many'],
  ];
  for (const args of WRONG_USAGE) {
    it(`are usage errors, exit 2 without a stack: salad ${args.join(' ')}`, async () => {
      const { code, stdout, stderr } = await runSalad(...args);
      assert.equal(code, 2, stderr);
      assert.equal(stdout, '');
      assert.match(stderr, new RegExp(args.at(-2)?.replace(/^--/, '') ?? 'no flag'));
      assert.doesNotMatch(stderr, /\n {4}at /);
    });
  }

  it('are reported as JSON if --json is given', async () => {
    const { code, lines } = await runSalad('score', 'x.png', '--timeout-ms', 'abc', '--json');
    assert.equal(code, 2);
    assert.equal(lines[0]?.['event'], 'error');
    assert.equal(lines[0]?.['reason'], 'CONFIGURATION_INVALID');
    assert.match(String(lines[0]?.['message']), /--timeout-ms.*'abc'.*whole number/);
  });
});
