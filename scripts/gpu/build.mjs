// `node scripts/gpu/build.mjs [--fast]`: packs what the GPU run needs on a bare x86-64 Linux machine into out/gpu/archive.
// `--fast` compresses little, for CI.
import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { otherNode } from '../other-node.mjs';
import { build, install, root } from '../prepare.mjs';
import { copyLibraries, UNPACKERS } from './libraries.mjs';
import { copyProgram, ONNX_LIBRARIES } from './modules.mjs';

/** The smallest of the supported versions. */
const NODE_MAJOR = 20;
const MIB = 2 ** 20;
const LIMIT_MIB = 64;
/** The filter for machine code makes Node and the libraries 7 % smaller. */
const XZ = { slow: ['--x86', '--lzma2=preset=9e,dict=64MiB'], fast: ['-1'] };

const isFast = process.argv.includes('--fast');
const archive = join(root, 'out/gpu/archive');
const tree = join(root, 'out/gpu/tree');
const cache = join(root, '.cache/gpu');

const log = (message) => console.error(`gpu:build: ${message}`);
const mib = (bytes) => (bytes / MIB).toFixed(1).padStart(6);

function readGit(...args) {
  try {
    return execFileSync('git', args, { cwd: root, encoding: 'utf8', maxBuffer: 64 * MIB }).trim();
  } catch {
    return '';
  }
}

/** A tree for each part of the archive; all are unpacked into one folder. */
async function copyTrees() {
  const part = (name, folder = '') => {
    const path = join(tree, name, folder);
    mkdirSync(path, { recursive: true });
    return path;
  };
  copyNode(join(part('node'), 'node'));
  await copyProgram(part('program', 'app'));
  writeFileSync(join(tree, 'program/app/commit.txt'), `${readGit('describe', '--always', '--dirty')}\n`);
  copyLibraries(archive, part('program'));
  cpSync(join(root, ONNX_LIBRARIES), part('onnx', join('app', ONNX_LIBRARIES)), { recursive: true });
  cpSync(join(root, 'models'), part('models', 'app/models'), { recursive: true });
}

function copyNode(target) {
  const isThisNode = process.version.startsWith(`v${NODE_MAJOR}.`) && process.platform === 'linux';
  copyFileSync(isThisNode ? process.execPath : otherNode(NODE_MAJOR), target);
  try {
    execFileSync('strip', [target], { stdio: 'ignore' });
  } catch {
    log('without strip (package binutils) the archive is larger');
  }
  chmodSync(target, 0o755);
}

/** Compresses a part, or takes the result of an earlier build: it takes minutes, and Node rarely changes. */
async function pack(name) {
  const tar = join(tree, `${name}.tar`);
  // The same content gives the same bytes.
  const fixed = [
    '--sort=name',
    '--mtime=@0',
    '--owner=0',
    '--group=0',
    '--numeric-owner',
    '--mode=u+rw,go=rX',
  ];
  execFileSync('tar', [...fixed, '-C', join(tree, name), '-cf', tar, '.']);
  const level = isFast ? XZ.fast : XZ.slow;
  const hash = createHash('sha256').update(level.join()).update(readFileSync(tar)).digest('hex').slice(0, 16);
  const packed = join(cache, `${name}-${hash}.tar.xz`);
  if (!existsSync(packed)) {
    const started = spawn('xz', ['--force', '--keep', ...level, tar], { stdio: ['ignore', 2, 2] });
    const [status] = await once(started, 'exit');
    if (status !== 0) throw new Error(`xz ended with ${status}`);
    renameSync(`${tar}.xz`, packed);
  }
  copyFileSync(packed, join(archive, `${name}.tar.xz`));
  return { name: `${name}.tar.xz`, unpacked: statSync(tar).size, packed: statSync(packed).size };
}

install();
build();
for (const folder of [archive, tree]) rmSync(folder, { recursive: true, force: true });
for (const folder of [archive, cache]) mkdirSync(folder, { recursive: true });
await copyTrees();
for (const name of ['run.sh', 'README.md'])
  copyFileSync(join(root, 'scripts/gpu', name), join(archive, name));
const parts = await Promise.all(['node', 'program', 'onnx', 'models'].map(pack));
const plain = [...UNPACKERS, 'run.sh', 'README.md'].map((name) => {
  const { size } = statSync(join(archive, name));
  return { name, unpacked: size, packed: size };
});
rmSync(tree, { recursive: true });

const total = [...parts, ...plain].reduce((sum, { packed }) => sum + packed, 0);
console.log('   MiB  unpacked');
for (const { name, packed, unpacked } of [...parts, ...plain])
  console.log(`${mib(packed)}    ${mib(unpacked)}  ${name}`);
console.log(`${mib(total)}              ${archive}`);
if (!isFast && total > LIMIT_MIB * MIB) {
  log(`the archive is larger than ${LIMIT_MIB} MiB`);
  process.exitCode = 1;
}
