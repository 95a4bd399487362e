// `npm run engines:webgpu`: installs the Node bindings of Dawn and the WebGPU backend of tfjs from the npm registry, for
// the engine `webgpu` of an installed package. A checkout has them already, because its tests use them.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { root } from '../root.mjs';

const home = join(root, '.cache/webgpu');
const { peerDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const NAMES = ['webgpu', '@tensorflow/tfjs-backend-webgpu'];

function log(message) {
  console.error(`engines:webgpu: ${message}`);
}

/** @returns whether both packages resolve from this folder, in the right versions, and use the tfjs-core of the project */
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

/** Installs without tfjs-core: the backend must use the one of the project, in which the engine registers it. */
function installTo(folder) {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), '{ "private": true }\n');
  const packages = NAMES.map((name) => `${name}@${peerDependencies[name]}`);
  const flags = ['--ignore-scripts', '--legacy-peer-deps', '--no-audit', '--no-fund', '--silent'];
  execFileSync('npm', ['install', ...flags, '--prefix', folder, ...packages], {
    cwd: folder,
    stdio: ['ignore', 2, 2],
    shell: process.platform === 'win32',
  });
}

if (isComplete(root)) {
  log('ready: the packages are installed in the project');
} else if (isComplete(home)) {
  log(`ready in ${home}`);
} else {
  // Installs into another folder and renames it when complete, so that the engine never finds a partial installation.
  const fresh = `${home}.new`;
  log(`installing ${NAMES.join(' and ')} (150 MB)`);
  installTo(fresh);
  if (!isComplete(fresh)) throw new Error(`${fresh} is incomplete after the installation`);
  rmSync(home, { recursive: true, force: true });
  renameSync(fresh, home);
  log(`installed in ${home}`);
}
