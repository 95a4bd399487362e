import assert from 'node:assert/strict';
import type { Command } from 'commander';
import { describe, it } from 'mocha';
import { createProgram } from '../../../../src/cli/program.js';
import { wrapHelp } from '../../../../src/cli/shared/help.js';
import { runSalad } from '../../../support/programs/in-process-salad.js';

/** Every command with the words that call it, the root command first. */
function commandsOf(command: Command, words: readonly string[] = []): [string[], Command][] {
  return [
    [[...words], command],
    ...command.commands.flatMap((child) => commandsOf(child, [...words, child.name()])),
  ];
}

const program = await createProgram({ environment: {} });

describe('--help', () => {
  for (const [words, command] of commandsOf(program)) {
    it(`of "${['salad', ...words].join(' ')}" has examples, fits into 80 columns and marks required options`, async () => {
      const { code, stdout } = await runSalad(...words, '--help');
      assert.equal(code, 0);
      const [, examples = ''] = stdout.split(/^Examples:\n/m);
      // A wrapped command could not be copied.
      for (const line of examples.match(/^ {2}\S.*/gm) ?? assert.fail('no examples')) {
        assert.match(line, /^ {2}(?:# |(?:\w+=\S+ )?(?:salad|npm) )/);
      }
      assert.doesNotMatch(stdout, /\[\]/, 'an empty default is not shown');
      assert.doesNotMatch(stdout, /^\{/m, 'a line of help must not look like a line of JSON');
      for (const line of stdout.split('\n')) assert.ok(line.length <= 80, `${line.length} columns: ${line}`);
      const text = stdout.replace(/\s+/g, ' ');
      for (const option of command.options.filter(({ mandatory }) => mandatory)) {
        assert.ok(text.includes(option.flags), option.flags);
        assert.match(text.slice(text.indexOf(option.flags)), /^.{1,250}required\)/);
      }
    });
  }

  it('of commands with settings groups them: a few about one thing under each heading', async () => {
    for (const words of [['serve'], ['config', 'print']]) {
      const { stdout } = await runSalad(...words, '--help');
      const headings = ['Address and models', 'Engine', 'Settings', 'Options'];
      assert.deepEqual(
        [...stdout.matchAll(/^([A-Z][a-z ]+):\n {2}--/gm)].map(([, heading]) => heading),
        headings,
      );
    }
  });

  it('lists every value of --precision', async () => {
    const { stdout } = await runSalad('serve', '--help');
    assert.match(stdout.replace(/\s+/g, ' '), /--precision <name>.*float32, bfloat16, int8/);
  });

  it('does not show the path of the installation', async () => {
    const { stdout } = await runSalad('evaluate', '--help');
    assert.match(stdout.replace(/\s+/g, ' '), /--models <dir>.*the shipped models/);
  });
});

describe('wrapHelp', () => {
  it('keeps lines that fit, and wraps a paragraph that does not', () => {
    assert.equal(wrapHelp('a b c\nd\n', 10), 'a b c\nd\n');
    assert.equal(wrapHelp('one two three\nfour\n\nnext\n', 10), 'one two\nthree four\n\nnext\n');
  });

  it('keeps two columns, or moves the second one to a line of its own', () => {
    assert.equal(wrapHelp('  name  one two three', 16), '  name  one two\n        three');
    const command = `  salad ${'x'.repeat(50)}`;
    assert.equal(wrapHelp(`${command}  what it does`, 70), `${command}\n      what it does`);
  });
});
