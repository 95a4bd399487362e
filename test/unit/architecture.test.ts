import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, it } from 'mocha';

const root = resolve(import.meta.dirname, '../..');

/** What each part may import besides itself, src/errors and src/gen; docs/architecture.md says the same in words. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  'src/errors': [],
  'src/report': [],
  'src/telemetry': ['src/config', 'src/batching'],
  'src/config': ['src/engines', 'src/scoring'],
  'src/scoring': ['src/model'],
  'src/model': ['src/scoring', 'src/engines'],
  'src/imaging': ['src/model'],
  'src/engines': ['src/model', 'src/scoring'],
  'src/batching': ['src/engines'],
  'src/pool': ['src/engines', 'src/model', 'src/telemetry'],
  'src/acquisition': ['src/imaging', 'src/batching', 'src/scoring', 'src/model', 'src/engines'],
  'src/registry': [
    'src/acquisition',
    'src/config',
    'src/imaging',
    'src/model',
    'src/pool',
    'src/engines',
    'src/batching',
    'src/telemetry',
  ],
  'src/training': ['src/model', 'src/scoring', 'src/imaging', 'src/engines', 'src/report'],
  'src/grpc': [
    'src/acquisition',
    'src/registry',
    'src/imaging',
    'src/telemetry',
    'src/config',
    'src/model',
    'src/scoring',
    'src/batching',
    'src/pool',
  ],
  workers: ['src/pool', 'src/engines', 'src/imaging', 'src/model', 'src/scoring'],
  'clients/typescript': [],
  'clients/load': ['clients/typescript'],
};

interface Import {
  readonly file: string;
  readonly from: string;
  readonly to: string;
}

function partOf(path: string): string {
  const [first = '', second = ''] = path.split('/');
  return first === 'src' || first === 'clients' ? `${first}/${second}` : first;
}

function importsOf(directory: string): Import[] {
  return readdirSync(join(root, directory), { recursive: true, withFileTypes: true })
    .filter(
      (entry) =>
        entry.isFile() &&
        entry.name.endsWith('.ts') &&
        !/\/(dist|node_modules)\//.test(`${entry.parentPath}/`),
    )
    .flatMap((entry) => {
      const path = join(entry.parentPath, entry.name);
      const file = relative(root, path);
      return [...readFileSync(path, 'utf8').matchAll(/(?:from|import\()\s*'(\.[^']+)'/g)].map((match) => ({
        file,
        from: partOf(file),
        to: partOf(relative(root, resolve(dirname(path), match[1] ?? ''))),
      }));
    });
}

describe('architecture', () => {
  const imports = ['src', 'workers', 'clients'].flatMap(importsOf);

  it('sees the imports it is there to judge', () => {
    assert.ok(imports.some(({ from, to }) => from === 'src/grpc' && to === 'src/acquisition'));
  });

  it('lets every part import only what the table allows', () => {
    const wrong = imports.filter(({ from, to }) => {
      const allowed = MAY_IMPORT[from];
      if (!allowed) return false; // src/cli, src/main.ts: anything
      return from !== to && to !== 'src/errors' && to !== 'src/gen' && !allowed.includes(to);
    });
    assert.deepEqual(
      wrong.map(({ file, to }) => `${file} imports ${to}`),
      [],
    );
  });

  it('keeps gRPC out of everything but the two ends of the wire', () => {
    const offenders = readdirSync(join(root, 'src'), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
      .map((entry) => join(entry.parentPath, entry.name))
      .filter((path) => !/src\/(grpc|gen)\//.test(path) && readFileSync(path, 'utf8').includes("'@grpc/"));
    assert.deepEqual(offenders, []);
  });
});
