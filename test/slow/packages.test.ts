/** Both packages as `npm pack` builds them from a clean clone, installed with only the registry. */
import assert from 'node:assert/strict';
import { execFile, execFileSync, spawn } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { after, before, describe, it } from 'mocha';
import { makeAuthority } from '../support/network/certificates.js';
import {
  PROGRAM,
  READER,
  README_RUN,
  README_TARGET,
  readmePrograms,
  STRICT,
} from '../support/programs/client-programs.js';
import { type LockEntry, writeProjectOf } from '../support/programs/locked-project.js';
import { root } from '../support/root.js';

const execute = promisify(execFile);

/** Of npm's settings none but those of the machine: this test runs under `npm run`. */
const environment = Object.fromEntries(
  Object.entries(process.env).filter(
    ([name]) => !/^npm_(config_(json|prefix|local_prefix|global)|lifecycle|package)/i.test(name),
  ),
);
const run = async (cwd: string, command: string, ...args: readonly string[]) =>
  (await execute(command, args, { cwd, env: environment, maxBuffer: 1e8 })).stdout;

/** The commit as a clone would have it, with what is changed and not yet committed; packages of this checkout. */
function cloneOf(folder: string): void {
  const list = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
    cwd: root,
  });
  for (const file of list
    .toString()
    .split('\0')
    .filter((name) => name !== '' && existsSync(join(root, name)))) {
    mkdirSync(join(folder, dirname(file)), { recursive: true });
    cpSync(join(root, file), join(folder, file), { preserveTimestamps: true });
  }
  // Hard links: what is packed must not depend on whether they were installed a second time.
  execFileSync('cp', ['-al', join(root, 'node_modules'), join(folder, 'node_modules')]);
}

/** Packs a folder and gives the archive's file and the paths in it. */
async function pack(folder: string, destination: string): Promise<{ archive: string; paths: string[] }> {
  const printed = JSON.parse(await run(folder, 'npm', 'pack', '--json', '--pack-destination', destination));
  const [packed] = Object.values(printed) as [{ filename: string; files: { path: string }[] }];
  const archive = join(destination, packed.filename.replace('@', '').replace('/', '-'));
  return { archive, paths: packed.files.map(({ path }) => path).sort() };
}

function empty(folder: string): string {
  mkdirSync(folder);
  writeFileSync(join(folder, 'package.json'), '{ "private": true, "type": "module" }\n');
  return folder;
}

/** Bytes of the files below a folder. */
function sizeOf(folder: string): number {
  return Number(execFileSync('du', ['-sb', folder]).toString().split('\t')[0]);
}

describe('the packages', function () {
  this.timeout(600_000);
  let scratch: string;
  let main: { archive: string; paths: string[] };
  let client: { archive: string; paths: string[] };
  let program: string;

  before(async () => {
    scratch = mkdtempSync(join(tmpdir(), 'salad-packages-'));
    const clone = join(scratch, 'clone');
    mkdirSync(clone);
    cloneOf(clone);
    main = await pack(clone, scratch);
    client = await pack(join(clone, 'clients/typescript'), scratch);
    program = empty(join(scratch, 'program'));
    await run(program, 'npm', 'install', '--ignore-scripts', main.archive);
  });
  after(() => rmSync(scratch, { recursive: true, force: true }));

  /** npm 10, which comes with Node 20 and 22. */
  const npm10 = async () => {
    const folder = join(scratch, 'npm10');
    const script = join(folder, 'node_modules/npm/bin/npm-cli.js');
    if (!existsSync(script)) {
      await run(empty(folder), 'npm', 'install', '--ignore-scripts', '--no-save', 'npm@10');
    }
    return script;
  };
  const salad = (...args: readonly string[]) =>
    run(program, join(program, 'node_modules/.bin/salad'), ...args);

  it('of the program contains only the files that it runs with', () => {
    const kinds = new Set(main.paths.map((path) => path.replace(/^((dist|scripts)\/[^/]+|[^/]+).*/, '$1')));
    assert.deepEqual(
      [...kinds].sort(),
      [
        ...[
          'CHANGELOG.md',
          'LICENSE',
          'README.md',
          // The systemd unit and the pod of the gateway.
          'clients',
          'dist/clients',
          'dist/src',
          'dist/workers',
          'docs',
          'encoders',
          'models',
        ],
        ...['package.json', 'proto', 'scripts/engines', 'scripts/package', 'scripts/root.mjs'],
      ].sort(),
    );
    const sources = new Set(main.paths.map((path) => /\.[^./]+$/.exec(path)?.[0] ?? ''));
    // `.service` and `.yaml`: `clients/modality/deploy`.
    const expected = ['', '.js', '.json', '.md', '.mjs', '.proto', '.safetensors', '.service', '.yaml'];
    assert.deepEqual([...sources].sort(), expected);
    for (const path of [
      'dist/src/main.js',
      'dist/workers/dicom-decoder.js',
      'dist/workers/engine-worker.js',
      'encoders/efficientnet-lite0.safetensors',
      'models/phantom/1/manifest.json',
    ]) {
      assert.ok(main.paths.includes(path), path);
    }
  });

  it('of the client contains its build, its types, its README and its licence, and no link to other files', () => {
    const others = client.paths.filter(
      (path) => !/^dist\/(clients\/typescript\/)?src\/.*\.(js|d\.ts)$/.test(path),
    );
    assert.deepEqual(others, ['LICENSE', 'README.md', 'package.json']);
    assert.ok(client.paths.includes('dist/clients/typescript/src/index.d.ts'));
    const readme = readFileSync(join(root, 'clients/typescript/README.md'), 'utf8');
    const links = [...readme.matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map(([, target]) => target);
    assert.deepEqual(
      links.filter((target) => !client.paths.includes(target ?? '')),
      [],
    );
  });

  it('of the client brings three packages', async () => {
    const manifest = JSON.parse(
      await run(scratch, 'tar', '-xzOf', client.archive, 'package/package.json'),
    ) as Record<string, object | undefined>;
    assert.deepEqual(Object.keys(manifest['dependencies'] ?? {}), [
      '@bufbuild/protobuf',
      '@grpc/grpc-js',
      '@node-rs/crc32',
    ]);
    for (const kind of [
      'optionalDependencies',
      'peerDependencies',
      'bundleDependencies',
      'bundledDependencies',
    ]) {
      assert.equal(manifest[kind], undefined, kind);
    }
  });

  it('of the program excludes the large engines, and is smaller than 580 MB', () => {
    const modules = join(program, 'node_modules');
    for (const name of ['webgpu', '@tensorflow/tfjs-backend-webgpu', '@tensorflow/tfjs-node-gpu', 'tar']) {
      assert.ok(!existsSync(join(modules, name)), name);
    }
    const bytes = sizeOf(modules);
    console.log(`    installed: ${Math.round(bytes / 1e6)} MB`);
    assert.ok(bytes < 580e6, `${bytes} bytes`);
  });

  it('of the program runs its demo, and scores a PNG and a DICOM file', async () => {
    const demo = (await salad('demo', '--json')).trim().split('\n');
    const aggregate = JSON.parse(demo.at(-1) ?? '') as Record<string, unknown>;
    assert.deepEqual([aggregate['event'], aggregate['engine']], ['aggregate', 'onnx']);
    const phantom = ['phantom', '--count', '1', '--seed', '5', '--lesion', 'effusion', '--out', 'images'];
    for (const format of ['png', 'dicom']) await salad(...phantom, '--format', format);
    const scored = await salad('score', 'images/effusion', '--model', 'phantom', '--json');
    const lines = scored
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    assert.deepEqual(
      lines.map((line) => [line['file'], line['decision']]),
      ['dcm', 'png'].map((extension) => [`images/effusion/phantom-000005.${extension}`, 'anomalous']),
    );
  });

  it('of the program can install the WebGPU engine by one command', async () => {
    const reason = async () => {
      const printed = JSON.parse(
        await salad('doctor', '--json').catch((error: { stdout: string }) => error.stdout),
      );
      const engine = printed.engines.find(({ name }: { name: string }) => name === 'webgpu');
      return String(engine.reason ?? engine.device);
    };
    assert.match(await reason(), /engines:webgpu installs them/);
    await run(program, 'npm', '--prefix', 'node_modules/salad-serve', 'run', 'engines:webgpu');
    assert.doesNotMatch(await reason(), /engines:webgpu|does? not load/);
  });

  it('of the program is installed by npm 10 too, and fetches nothing from outside the registry', async () => {
    const folder = join(scratch, 'npm10');
    const args = ['install', '--global', '--prefix', join(folder, 'global'), main.archive];
    await run(folder, process.execPath, await npm10(), ...args);
    const printed = await run(folder, join(folder, 'global/bin/salad'), 'models', 'list', '--json');
    assert.match(printed, /chest-pediatric/);
    const binaries = join(folder, `global/lib/node_modules/salad-serve/node_modules/onnxruntime-node/bin`);
    const fetched = readdirSync(binaries, { recursive: true, withFileTypes: true })
      .filter((entry) => /_providers_/.test(entry.name))
      .map((entry) => sizeOf(join(entry.parentPath, entry.name)));
    assert.ok(
      fetched.every((bytes) => bytes === 0),
      `CUDA libraries were fetched: ${fetched}`,
    );
  });

  it('of a checkout run no install script, also with an npm without allowScripts', async () => {
    const npm = await npm10();
    const scriptsRun = async (name: string, change: (entry: LockEntry) => void) => {
      const folder = join(scratch, name);
      mkdirSync(folder);
      writeProjectOf(folder, 'usearch', change);
      const printed = await run(folder, process.execPath, npm, 'ci', '--foreground-scripts');
      return [...printed.matchAll(/^> (\S+)@\S+ (?:pre|post)?install$/gm)].map(([, script]) => script);
    };
    assert.deepEqual(await scriptsRun('as-locked', () => undefined), []);
    // As npm writes it: this is what the lock file's own entries prevent.
    const restore = (entry: LockEntry) => {
      delete entry.gypfile;
      entry.hasInstallScript = true;
    };
    assert.deepEqual(await scriptsRun('as-npm-writes', restore), ['usearch']);
  });

  /** @param folder with the compiled blocks */
  const runReadme = async (folder: string, address: string, image: string) => {
    const count = readmePrograms().length;
    for (let index = 1; index <= count; index++) {
      const file = join(folder, `readme-${index}.js`);
      writeFileSync(file, readFileSync(file, 'utf8').replaceAll(README_TARGET, address));
    }
    cpSync(image, join(folder, 'chest.png'));
    const authority = await makeAuthority();
    const own = await authority.issue({ commonName: 'detector' });
    writeFileSync(join(folder, 'ca.pem'), authority.certificate);
    writeFileSync(join(folder, 'own.pem'), own.certificate);
    writeFileSync(join(folder, 'own.key'), own.privateKey);
    writeFileSync(join(folder, 'run-readme.js'), README_RUN);
    const printed = await run(folder, process.execPath, 'run-readme.js', address, `${count}`);
    const told = printed
      .split('\n')
      .filter((line) => /^\{(".*)?\}$/.test(line))
      .map((line) => JSON.parse(line) as Record<string, number>);
    assert.deepEqual(
      told.map((calls) => Object.keys(calls)),
      [[], ['highlight', 'report'], [], ['show'], [], ['chooseAnother']],
      printed,
    );
    // Patches of the acquisition that a detector streams; events of the one that is retried: accepted, patches, aggregate.
    assert.ok((told[1]?.['highlight'] ?? 0) > 100, printed);
    assert.ok((told[3]?.['show'] ?? 0) >= 3, printed);
  };

  it('of the client compiles with its README under strict types, library types checked too, and both score', async () => {
    const folder = empty(join(scratch, 'client'));
    await run(folder, 'npm', 'install', '--ignore-scripts', client.archive, '@types/node@20', 'typescript@5');
    const programs: Readonly<Record<string, string>> = {
      ...{ 'use.ts': PROGRAM, 'reader.d.ts': READER },
      ...Object.fromEntries(readmePrograms().map((text, index) => [`readme-${index + 1}.ts`, text])),
    };
    for (const [name, text] of Object.entries(programs)) writeFileSync(join(folder, name), text);
    // The compiler of this checkout, and the last of the generation before it.
    for (const compiler of [join(root, 'node_modules/typescript-native'), 'node_modules/typescript']) {
      await run(folder, process.execPath, join(compiler, 'bin/tsc'), ...STRICT, ...Object.keys(programs));
    }
    const server = spawn(
      join(program, 'node_modules/.bin/salad'),
      ['serve', '--listen', '127.0.0.1:0', '--json'],
      {
        env: environment,
        stdio: ['ignore', 'pipe', 'ignore'],
      },
    );
    try {
      const line = await new Promise<string>((done) =>
        createInterface({ input: server.stdout }).once('line', done),
      );
      const { address } = JSON.parse(line) as { address: string };
      const [image] = readdirSync(join(program, 'images/effusion')).filter((name) => name.endsWith('.png'));
      const file = join(program, 'images/effusion', image ?? '');
      const printed = await run(folder, process.execPath, 'use.js', address, file);
      assert.match(printed, /^3 \d+\nanomalous true\n$/);
      await runReadme(folder, address, file);
    } finally {
      server.kill();
    }
  });
});
