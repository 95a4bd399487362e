import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { describe, it } from 'mocha';
import { createProgram } from '../../../src/cli/program.js';
import { changedFields, RECORDED } from '../../support/programs/json-fields.js';
import { root } from '../../support/root.js';

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

const program = await createProgram({ environment: {} });

describe('the command line', () => {
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

describe('the JSON output of commands', () => {
  it(`is compared with every line recorded at ${RECORDED.commit}, in an e2e test`, () => {
    const folder = join(root, 'test/e2e');
    const sources = readdirSync(folder).map((file) => readFileSync(join(folder, file), 'utf8'));
    const names = Object.keys(RECORDED.lines);
    assert.ok(names.length > 0);
    const compared = sources.flatMap((text) =>
      [...text.matchAll(/assertKeepsFields\(\s*'([^']+)',/g)].map(([, name]) => name),
    );
    assert.deepEqual(
      names.filter((name) => !compared.includes(name)),
      [],
    );
  });

  it('may have additional fields, but none less and none of another type', () => {
    const fields = { event: 'string', threshold: 'number|null', 'patches/*/row': 'number' };
    const line = { event: 'aggregate', threshold: null, patches: [{ row: 1, column: 2 }, { row: 3 }] };
    assert.deepEqual(changedFields(fields, line), []);
    assert.deepEqual(changedFields(fields, { ...line, event: 1, patches: [{ row: 1 }, {}] }), [
      'event: number, recorded as string',
      'patches/*/row: missing, recorded as number',
    ]);
    assert.deepEqual(changedFields(fields, { ...line, patches: [] }), ['patches/*/row: no value to compare']);
  });
});
