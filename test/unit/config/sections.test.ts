import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { CONFIG_FIELDS, CONFIG_SECTIONS } from '../../../src/config/schema.js';
import { root } from '../../support/root.js';

/** The files that may see the whole configuration: every other file takes the sections that it reads. */
const SEES_ALL = /^src\/(server\/(server|processes\/.*)\.ts|cli\/|config\/)/;

describe('the sections of the configuration', () => {
  it('contain every setting exactly once, in the order of CONFIG_FIELDS', () => {
    const keys = CONFIG_SECTIONS.flatMap(({ fields }) => Object.keys(fields));
    assert.deepEqual(keys, Object.keys(CONFIG_FIELDS));
    assert.equal(new Set(keys).size, keys.length);
  });

  it('use every environment variable once', () => {
    const variables = Object.values(CONFIG_FIELDS).map(({ env }) => env);
    assert.equal(new Set(variables).size, variables.length);
  });

  it('are imported by parts of the program: only the server, the CLI and src/config import the whole configuration', () => {
    const files = ['src', 'workers'].flatMap((folder) =>
      readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map(
        (file) => `${folder}/${file}`,
      ),
    );
    const importers = files.filter(
      (file) =>
        file.endsWith('.ts') && /config\/(schema|load)\.js'/.test(readFileSync(join(root, file), 'utf8')),
    );
    assert.ok(importers.includes('src/server/server.ts'));
    assert.deepEqual(
      importers.filter((file) => !SEES_ALL.test(file)),
      [],
    );
  });
});
