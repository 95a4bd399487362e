import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'mocha';
import { dicomFile } from '../../bench/support/dicom-file.js';
import { makePhantom } from '../../src/phantom/phantom.js';
import { IMAGE, logOf, podman, readyLine, stateOf } from '../support/programs/container.js';
import { salad } from '../support/programs/salad.js';

/** Flags like those of a restricted pod: only the cache is writable, no capabilities, no new privileges. */
const RESTRICTED = [
  ...['--read-only', '--cap-drop', 'all', '--security-opt', 'no-new-privileges'],
  ...['--tmpfs', '/cache:rw,mode=1777'],
];

describe('the container image', function () {
  this.timeout(300_000);
  const containers: string[] = [];
  const start = async (...args: readonly string[]) => {
    const name = `salad-${randomUUID().slice(0, 8)}`;
    containers.push(name);
    await podman('run', '--detach', '--name', name, ...RESTRICTED, ...args);
    return name;
  };
  after(async () => {
    await podman('rm', '--force', '--ignore', ...containers);
  });

  it('has labels, runs as an unprivileged user, and contains no shell, no npm and no compiler', async () => {
    const [image] = JSON.parse(await podman('image', 'inspect', IMAGE)) as [Image];
    assert.equal(image.Config.User, '10001:10001');
    assert.equal(image.Config.Labels['org.opencontainers.image.title'], 'salad-serve');
    assert.match(image.Config.Labels['org.opencontainers.image.revision'] ?? '', /^[0-9a-f]{40}$/);
    assert.ok(image.Size < 400e6, `${image.Size} bytes`);
    // Variables would override the configuration file.
    assert.deepEqual(
      image.Config.Env.filter((variable) => variable.startsWith('SALAD_')),
      [],
    );
    const script = `
      const { readdirSync, existsSync } = require('node:fs');
      const programs = ['/bin', '/usr/bin', '/sbin', '/usr/sbin', '/usr/local/bin'].filter(existsSync).flatMap((d) => readdirSync(d));
      const packages = readdirSync('/app/node_modules');
      console.log(JSON.stringify({ programs, packages, node: process.versions.node, uid: process.getuid() }));`;
    const inside = JSON.parse(
      await podman('run', '--rm', ...RESTRICTED, '--entrypoint', 'node', IMAGE, '-e', script),
    );
    assert.ok(inside.programs.includes('node'));
    assert.deepEqual(
      inside.programs.filter((name: string) => /^(sh|bash|dash|perl|npm|apt|dpkg|gcc|cc|make)$/.test(name)),
      [],
    );
    assert.deepEqual(
      inside.packages.filter((name: string) => /^(typescript|mocha|@biomejs|eslint)/.test(name)),
      [],
    );
    const [major, minor] = inside.node.split('.').map(Number);
    assert.ok(major > 20 || (major === 20 && minor >= 19), inside.node);
    assert.equal(inside.uid, 10001);
  });

  it('contains the licences of all its packages, with the terms of the LGPL for libvips', async () => {
    const script = `
      const { readdirSync, readFileSync } = require('node:fs');
      const modules = '/app/node_modules';
      const packages = readdirSync(modules).filter((name) => !name.startsWith('.'))
        .flatMap((name) => name.startsWith('@') ? readdirSync(modules + '/' + name).map((each) => name + '/' + each) : name);
      const notices = readFileSync('/app/THIRD-PARTY-NOTICES.txt', 'utf8');
      const debian = readdirSync('/usr/share/doc').filter((name) => readdirSync('/usr/share/doc/' + name).includes('copyright'));
      console.log(JSON.stringify({ packages, notices, debian }));`;
    const inside = JSON.parse(
      await podman('run', '--rm', ...RESTRICTED, '--entrypoint', 'node', IMAGE, '-e', script),
    ) as { packages: string[]; notices: string; debian: string[] };
    assert.ok(inside.packages.length > 50);
    assert.deepEqual(
      inside.packages.filter((name) => !inside.notices.includes(`\n${name} `)),
      [],
    );
    for (const text of [
      'Independent JPEG Group',
      'Jan de Vaan',
      'sharp-libvips',
      'GNU LESSER GENERAL PUBLIC LICENSE',
      'GNU GENERAL PUBLIC LICENSE',
    ]) {
      assert.ok(inside.notices.includes(text), text);
    }
    for (const name of ['nodejs', 'libc6']) assert.ok(inside.debian.includes(name), name);
  });

  it('scores with a read-only root file system, and drains on SIGTERM', async () => {
    const name = await start(IMAGE, 'serve', '--listen', '127.0.0.1:0', '--json');
    const ready = await readyLine(name);
    // openvino.mjs has a library for x64; the CPU image has no GPU engine, which would come first.
    assert.equal(ready['engine'], process.arch === 'x64' ? 'openvino' : 'onnx');
    const images = mkdtempSync(join(tmpdir(), 'salad-image-'));
    try {
      await salad('phantom', '--count', '1', '--seed', '5', '--lesion', 'effusion', '--out', images);
      const listing = readFileSync(join(images, 'manifest.tsv'), 'utf8');
      const file = join(images, /effusion\/\S+\.png/.exec(listing)?.[0] ?? '');
      const { code, lines } = await salad(
        'score',
        file,
        '--target',
        String(ready['address']),
        '--model',
        'phantom',
        '--json',
      );
      assert.equal(code, 0);
      assert.equal(lines[0]?.['decision'], 'anomalous');
    } finally {
      rmSync(images, { recursive: true });
    }
    await podman('stop', '--time', '30', name);
    assert.equal((await stateOf(name)).exitCode, 0);
  });

  it('decodes DICOM files of every codec', async () => {
    const name = await start(IMAGE, 'serve', '--listen', '127.0.0.1:0', '--json');
    const { address } = await readyLine(name);
    const folder = mkdtempSync(join(tmpdir(), 'salad-image-dicom-'));
    try {
      const syntaxes = ['explicit', 'jpegLossless', 'jpegLsLossless', 'jpeg2000Lossless', 'rle'] as const;
      const { samples } = makePhantom({ seed: 5, size: 256, lesion: 'effusion' });
      for (const syntax of syntaxes) {
        const image = { syntax, rows: 256, columns: 256, cells: samples, bitsStored: 12 };
        writeFileSync(join(folder, `${syntax}.dcm`), await dicomFile(image));
      }
      const flags = ['--target', String(address), '--model', 'phantom', '--send-dicom', '--json'];
      const { code, lines, stderr } = await salad('score', folder, ...flags);
      assert.equal(code, 0, stderr);
      assert.equal(lines.length, syntaxes.length);
      assert.equal(new Set(lines.map((line) => line['imageScore'])).size, 1);
    } finally {
      rmSync(folder, { recursive: true });
    }
    await podman('stop', '--time', '30', name);
    assert.equal((await stateOf(name)).exitCode, 0);
  });

  it('refuses to serve in plaintext on other addresses than loopback, with its default command', async () => {
    const name = await start(IMAGE);
    await podman('wait', name);
    assert.equal((await stateOf(name)).exitCode, 2);
    assert.match(await logOf(name), /plaintext/);
  });

  it('exits immediately if it is stopped during the warm-up', async () => {
    const name = await start(IMAGE, 'serve', '--listen', '127.0.0.1:0', '--json');
    // PID 1 ignores a signal that arrives before the program has installed its handler, so it is sent repeatedly.
    while ((await stateOf(name)).running === 'true') {
      await podman('kill', '--signal', 'TERM', name).catch(() => undefined);
    }
    assert.equal((await stateOf(name)).exitCode, 130);
    assert.doesNotMatch(await logOf(name), /"event":"ready"/);
  });
});

interface Image {
  readonly Size: number;
  readonly Config: {
    readonly User: string;
    readonly Env: readonly string[];
    readonly Labels: Readonly<Record<string, string>>;
  };
}
