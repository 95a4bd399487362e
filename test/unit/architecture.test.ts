import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, it } from 'mocha';

const root = resolve(import.meta.dirname, '../..');

interface Folder {
  readonly folder: string;
  readonly owns: string;
  readonly imports: readonly string[];
}

/** Which folder may import which. `npm run docs` writes the table of docs/explanation/architecture.md from it. */
const FOLDERS = JSON.parse(readFileSync(join(root, 'test/folders.json'), 'utf8')) as readonly Folder[];

interface Import {
  readonly file: string;
  readonly target: string;
}

/** Imports of types count: a type is knowledge of another folder as much as a function is. */
function importsOf(directory: string): Import[] {
  return readdirSync(join(root, directory), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => !/\/(dist|node_modules|src\/gen)\//.test(path))
    .flatMap((path) => {
      const matches = readFileSync(path, 'utf8').matchAll(/(?:from|import\()\s*'(\.[^']+)'/g);
      return [...matches].map((match) => ({
        file: relative(root, path),
        target: relative(root, resolve(dirname(path), match[1] ?? '')).replace(/\.js$/, '.ts'),
      }));
    });
}

/** The folder of the table that a file lies in: the one with the longest name. */
function folderOf(file: string): string | undefined {
  const names = [...FOLDERS.map(({ folder }) => folder), 'src/gen'];
  return names.filter((name) => file.startsWith(`${name}/`)).sort((a, b) => b.length - a.length)[0];
}

/** A path that leads from a node back to itself, or null. */
function findCycle(edges: ReadonlyMap<string, ReadonlySet<string>>): readonly string[] | null {
  const done = new Set<string>();
  const visit = (node: string, path: readonly string[]): readonly string[] | null => {
    if (path.includes(node)) return [...path.slice(path.indexOf(node)), node];
    if (done.has(node)) return null;
    for (const next of edges.get(node) ?? []) {
      const cycle = visit(next, [...path, node]);
      if (cycle !== null) return cycle;
    }
    done.add(node);
    return null;
  };
  for (const node of edges.keys()) {
    const cycle = visit(node, []);
    if (cycle !== null) return cycle;
  }
  return null;
}

function graphOf(imports: readonly Import[], nodeOf: (file: string) => string): Map<string, Set<string>> {
  const edges = new Map<string, Set<string>>();
  for (const { file, target } of imports) {
    const [from, to] = [nodeOf(file), nodeOf(target)];
    if (from === to) continue;
    edges.set(from, (edges.get(from) ?? new Set()).add(to));
  }
  return edges;
}

describe('architecture', () => {
  const imports = ['src', 'workers', 'clients', 'bench'].flatMap(importsOf);
  const judged = imports.filter(({ file }) => folderOf(file) !== undefined);

  it('allows every folder only the imports of the table', () => {
    const wrong = judged.filter(({ file, target }) => {
      const [from, to] = [folderOf(file), folderOf(target)];
      return from !== to && !FOLDERS.find(({ folder }) => folder === from)?.imports.includes(to ?? target);
    });
    assert.deepEqual(
      wrong.map(({ file, target }) => `${file} imports ${target}`),
      [],
    );
  });

  it('has only imports in the table that a file uses', () => {
    const unused = FOLDERS.flatMap(({ folder, imports: allowed }) =>
      allowed
        .filter(
          (to) => !judged.some(({ file, target }) => folderOf(file) === folder && folderOf(target) === to),
        )
        .map((to) => `${folder} may import ${to} but does not`),
    );
    assert.deepEqual(unused, []);
  });

  it('lists every folder above those that it imports', () => {
    const rows = FOLDERS.map(({ folder }) => folder);
    const upwards = FOLDERS.flatMap(({ folder, imports: allowed }, row) =>
      allowed
        .filter((to) => to !== 'src/gen' && rows.indexOf(to) < row)
        .map((to) => `${folder} imports ${to}, which stands above it or has no row`),
    );
    assert.deepEqual(upwards, []);
  });

  it('has no import cycle between folders', () => {
    assert.equal(findCycle(graphOf(imports, dirname))?.join(' -> '), undefined);
  });

  it('has no import cycle between files', () => {
    assert.equal(findCycle(graphOf(imports, (file) => file))?.join(' -> '), undefined);
  });

  it('finds a cycle where there is one', () => {
    const edges = new Map([
      ['a', new Set(['b'])],
      ['b', new Set(['c'])],
      ['c', new Set(['b'])],
    ]);
    assert.deepEqual(findCycle(edges), ['b', 'c', 'b']);
  });

  it('allows gRPC only in the folders that use it', () => {
    const offenders = readdirSync(join(root, 'src'), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
      .map((entry) => relative(root, join(entry.parentPath, entry.name)))
      .filter((file) => !/^src\/(server|auth|limits|wire|gen)\//.test(file))
      .filter((file) => readFileSync(join(root, file), 'utf8').includes("'@grpc/"));
    assert.deepEqual(offenders, []);
  });

  it('describes every folder of the program', () => {
    const folders = new Set(
      imports.map(({ file }) => file).filter((file) => /^(src\/.+|clients\/.+|workers)\//.test(file)),
    );
    const missing = [...folders].filter((file) => folderOf(file) === undefined);
    assert.deepEqual(missing, []);
  });
});
