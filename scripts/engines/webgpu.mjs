// `npm run engines:webgpu`: Dawn's Node bindings and tfjs' WebGPU backend, out of the npm registry, for the engine
// `webgpu` of an installed package. A checkout has them already: its tests use them.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { root } from '../root.mjs';

const home = join(root, '.cache/webgpu');
const { peerDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const NAMES = ['webgpu', '@tensorflow/tfjs-backend-webgpu'];

function say(message) {
  console.error(`engines:webgpu: ${message}`);
}

/** @returns whether both packages are found from this folder, in the wanted versions, and share the program's tfjs-core */
function isComplete(folder) {
  const require = createRequire(join(folder, 'package.json'));
  const coreFrom = (file) => createRequire(file).resolve('@tensorflow/tfjs-core');
  try {
    return (
      NAMES.every((name) => require(`${name}/package.json`).version === peerDependencies[name]) &&
      coreFrom(require.resolve('@tensorflow/tfjs-backend-webgpu')) === coreFrom(join(root, 'package.json'))
    );
  } catch {
    return false;
  }
}

/** tfjs-core is left out: the backend must find the program's own, in which the engine registers it. */
function installTo(folder) {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), '{ "private": true }\n');
  const wanted = NAMES.map((name) => `${name}@${peerDependencies[name]}`);
  const flags = ['--ignore-scripts', '--legacy-peer-deps', '--no-audit', '--no-fund', '--silent'];
  execFileSync('npm', ['install', ...flags, '--prefix', folder, ...wanted], {
    cwd: folder,
    stdio: ['ignore', 2, 2],
    shell: process.platform === 'win32',
  });
}

if (isComplete(root)) {
  say('ready: found beside the program');
} else if (isComplete(home)) {
  say(`ready in ${home}`);
} else {
  // Beside it and moved when complete: a half-installed one is never found by the engine.
  const fresh = `${home}.new`;
  say(`installing ${NAMES.join(' and ')} (150 MB)`);
  installTo(fresh);
  if (!isComplete(fresh)) throw new Error(`${fresh} is not complete`);
  rmSync(home, { recursive: true, force: true });
  renameSync(fresh, home);
  say(`installed in ${home}`);
}
