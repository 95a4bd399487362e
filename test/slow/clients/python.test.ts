/** The Python client as a wheel, from the oldest to the newest packages it allows, against real servers. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { after, before, describe, it } from 'mocha';
import { root } from '../../support/root.js';

const execute = promisify(execFile);
const folder = join(root, 'clients/python');
const WHEEL_BYTES_MAX = 50 * 1024;

interface Versions {
  readonly python: RegExp;
  readonly protobuf: RegExp;
  readonly grpcio: RegExp;
}

const NEW_PYTHON = /^3\.(1[1-9]|[2-9]\d)\./;
/** What each environment of scripts/clients/python-client.mjs is there for: runtimes differ between these versions. */
const ENVIRONMENTS: Readonly<Record<string, Versions>> = {
  oldest: { python: /^3\.9\./, protobuf: /^3\.20\.3$/, grpcio: /^1\.49\.1$/ },
  'protobuf-4': { python: NEW_PYTHON, protobuf: /^4\.25\./, grpcio: /^1\.62\./ },
  'protobuf-5': { python: NEW_PYTHON, protobuf: /^5\.29\./, grpcio: /^1\.71\./ },
  'protobuf-6': { python: NEW_PYTHON, protobuf: /^6\.33\./, grpcio: /^1\.76\./ },
  newest: { python: NEW_PYTHON, protobuf: /^7\./, grpcio: /^1\.85\./ },
};

describe('the Python client', function () {
  // The Python packages are installed the first time.
  this.timeout(600_000);
  const out = mkdtempSync(join(tmpdir(), 'salad-python-client-'));
  let newest: string;
  let pythons: Readonly<Record<string, string>>;
  let wheel: string;

  /** What a program printed; where it failed, that is the message. */
  const run = async (command: string, ...args: readonly string[]): Promise<string> => {
    try {
      const { stdout, stderr } = await execute(command, args, { cwd: folder, maxBuffer: 1e8 });
      return stdout + stderr;
    } catch (error) {
      const { message, stdout, stderr } = error as Error & { stdout: string; stderr: string };
      throw new Error(`${message}\n${stdout}\n${stderr}`);
    }
  };

  before(async () => {
    const { pythonClientEnvironments } = await import(join(root, 'scripts/clients/python-client.mjs'));
    pythons = pythonClientEnvironments() as Record<string, string>;
    assert.deepEqual(Object.keys(pythons), Object.keys(ENVIRONMENTS));
    newest = pythons['newest']!;
    await run(newest, '-m', 'pip', 'wheel', '-q', '--no-deps', '--no-build-isolation', '-w', out, '.');
    const [name = ''] = readdirSync(out);
    wheel = join(out, name);
    const install = ['-m', 'pip', 'install', '-q', '--no-deps', '--no-index', '--force-reinstall', wheel];
    await Promise.all(Object.values(pythons).map((python) => run(python, ...install)));
  });
  after(() => rmSync(out, { recursive: true, force: true }));

  it('is a small typed wheel with its licence that brings one package and four libraries', async () => {
    assert.ok(statSync(wheel).size <= WHEEL_BYTES_MAX, `the wheel has ${statSync(wheel).size} bytes`);
    const listing = 'import sys, zipfile; [print(name) for name in zipfile.ZipFile(sys.argv[1]).namelist()]';
    const names = (await run(newest, '-c', listing, wheel)).trim().split('\n');
    assert.ok(names.includes('salad_client/py.typed'));
    assert.ok(names.some((name) => name.endsWith('/LICENSE')));
    assert.deepEqual(
      new Set(names.map((name) => name.split('/')[0]?.replace(/-.*/, ''))),
      new Set(['salad_client', 'salad_client-0.1.0.dist-info'.replace(/-.*/, '')]),
    );
    const needs = 'from importlib.metadata import requires; print(*requires("salad-client"), sep="\\n")';
    const required = (await run(newest, '-c', needs)).trim().split('\n');
    assert.deepEqual(
      required.filter((each) => !each.includes('extra ==')).map((each) => each.replace(/[^a-z0-9].*/, '')),
      ['crc32c', 'grpcio', 'numpy', 'protobuf'],
    );
  });

  it('is strictly typed, its tests and examples too', async () => {
    assert.match(await run(newest, '-m', 'mypy'), /Success: no issues found/);
  });

  it('has the messages that proto/ generates', async () => {
    await run(process.execPath, join(root, 'scripts/clients/python-stubs.mjs'), '--check');
  });

  for (const [name, expected] of Object.entries(ENVIRONMENTS)) {
    it(`passes its tests with the packages of ${name}.txt`, async () => {
      const python = pythons[name]!;
      const asked = 'import sys, google.protobuf, grpc, numpy, salad_client; print(sys.version.split()[0], ';
      const versions = `${asked}google.protobuf.__version__, grpc.__version__, numpy.__version__, salad_client.__file__)`;
      const printedVersions = (await run(python, '-c', versions)).split(' ');
      const [interpreter = '', protobuf = '', grpc = '', numpy, file = ''] = printedVersions;
      assert.match(interpreter, expected.python);
      assert.match(protobuf, expected.protobuf);
      assert.match(grpc, expected.grpcio);
      // Not the sources: what was installed is tested.
      assert.match(file, /site-packages/);
      const printed = await run(python, '-m', 'pytest');
      const summary = printed.trim().split('\n').at(-1);
      console.log(
        `      Python ${interpreter}, protobuf ${protobuf}, grpcio ${grpc}, numpy ${numpy}: ${summary}`,
      );
      assert.match(printed, /\d+ passed/);
      // The notebook needs packages that are only among the newest.
      assert.equal(/(\d+) skipped/.exec(printed)?.[1], name === 'newest' ? undefined : '1');
    });
  }
});
