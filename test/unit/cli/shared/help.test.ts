import assert from 'node:assert/strict';
import type { Command } from 'commander';
import { describe, it } from 'mocha';
import { createProgram } from '../../../../src/cli/program.js';
import { fitted } from '../../../../src/cli/shared/help.js';
import { runSalad } from '../../../support/in-process-salad.js';

/** Every command with its words, the root first. */
function commandsOf(command: Command, words: readonly string[] = []): [string[], Command][] {
  return [
    [[...words], command],
    ...command.commands.flatMap((child) => commandsOf(child, [...words, child.name()])),
  ];
}

describe('--help', () => {
  for (const [words, command] of commandsOf(createProgram({ environment: {} }))) {
    it(`of "${['salad', ...words].join(' ')}" has examples, fits 80 columns, marks what is required`, async () => {
      const { code, stdout } = await runSalad(...words, '--help');
      assert.equal(code, 0);
      assert.match(stdout, /^Examples?:\n {2}/m);
      assert.doesNotMatch(stdout, /\[\]/, 'an empty default is none');
      assert.doesNotMatch(stdout, /^\{/m, 'a line of help must not look like a line of JSON');
      for (const line of stdout.split('\n')) assert.ok(line.length <= 80, `${line.length} columns: ${line}`);
      const text = stdout.replace(/\s+/g, ' ');
      for (const option of command.options.filter(({ mandatory }) => mandatory)) {
        assert.ok(text.includes(option.flags), option.flags);
        assert.match(text.slice(text.indexOf(option.flags)), /^.{1,250}required\)/);
      }
    });
  }

  it('names every arithmetic of --precision', async () => {
    const { stdout } = await runSalad('serve', '--help');
    assert.match(stdout.replace(/\s+/g, ' '), /--precision <name>.*float32, bfloat16, int8/);
  });

  it('does not show the path of the installation', async () => {
    const { stdout } = await runSalad('evaluate', '--help');
    assert.match(stdout.replace(/\s+/g, ' '), /--models <dir>.*the shipped ones/);
  });
});

describe('fitted', () => {
  it('leaves what fits as it is, and lays a paragraph out anew', () => {
    assert.equal(fitted('a b c\nd\n', 10), 'a b c\nd\n');
    assert.equal(fitted('one two three\nfour\n\nnext\n', 10), 'one two\nthree four\n\nnext\n');
  });

  it('keeps two columns, or puts the second one below', () => {
    assert.equal(fitted('  name  one two three', 16), '  name  one two\n        three');
    const command = `  salad ${'x'.repeat(50)}`;
    assert.equal(fitted(`${command}  what it does`, 70), `${command}\n      what it does`);
  });
});
