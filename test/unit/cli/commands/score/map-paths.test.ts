import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { hasPlaceholder, mapPaths } from '../../../../../src/cli/commands/score/map-paths.js';

const pathOf = (template: string, ...files: string[]) => [...mapPaths(template, files).values()];

describe('mapPaths', () => {
  it('copies names literally, even if they contain replacement patterns', () => {
    for (const name of ['x$&y', '$$', "$'", '$`', '$1', '{name}', '{folder}', 'a b', "q'u", 'new\nline']) {
      assert.deepEqual(pathOf('maps/{name}.png', `in/${name}.jpg`), [`maps/${name}.png`]);
    }
  });

  it('fills in extensions, and folders relative to the common folder of all images', () => {
    assert.deepEqual(pathOf('maps/{folder}/{name}.{ext}.png', 'in/a/x.png', 'in/b/x.jpg', 'in/x.png'), [
      'maps/a/x.png.png',
      'maps/b/x.jpg.png',
      'maps/x.png.png',
    ]);
    assert.deepEqual(pathOf('{folder}/{name}.png', '/a/x.png', '/b/x.png'), ['a/x.png', 'b/x.png']);
    assert.deepEqual(pathOf('maps/{folder}/{name}.png', 'in/a/x.png'), ['maps/x.png']);
  });

  it('replaces only its own placeholders', () => {
    assert.equal(hasPlaceholder('{name}.png'), true);
    assert.equal(hasPlaceholder('{patient}.png'), false);
    assert.deepEqual(pathOf('{patient}-{name}.png', 'x.png'), ['{patient}-x.png']);
  });
});
