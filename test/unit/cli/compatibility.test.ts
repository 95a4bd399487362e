import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { describe, it } from 'mocha';
import { createProgram } from '../../../src/cli/program.js';
import { root } from '../../support/docs.js';

/** Commands and flags of an earlier commit, which scripts of users may depend on. */
const { commit, flags } = JSON.parse(readFileSync(join(root, 'test/oracles/cli-flags.json'), 'utf8')) as {
  readonly commit: string;
  readonly flags: Readonly<Record<string, readonly string[]>>;
};

function find(program: Command, path: string): Command | undefined {
  return path
    .split(' ')
    .slice(1)
    .reduce<Command | undefined>(
      (command, name) => command?.commands.find((child) => child.name() === name),
      program,
    );
}

describe('the command line', () => {
  const program = createProgram({ environment: {} });

  for (const [path, requiredFlags] of Object.entries(flags)) {
    it(`keeps every flag that ${path} had at ${commit}`, () => {
      const command = find(program, path);
      assert.ok(command !== undefined, `${path} does not exist any more`);
      const presentFlags = command.options.flatMap(({ long, short }) => [long, short]);
      assert.deepEqual(
        requiredFlags.filter((flag) => !presentFlags.includes(flag)),
        [],
      );
    });
  }
});
