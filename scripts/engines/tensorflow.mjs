// `npm run engines:tensorflow`: builds the addon of tfjs-node with the CPU libtensorflow of the PyPI wheel
// `tensorflow-cpu`, for machines that cannot reach the host from which the install script of tfjs-node downloads. Needs
// npm, pip and a C++17 compiler; Linux only (elsewhere use `npm install @tensorflow/tfjs-node`). The addon uses Node-API,
// so that one build works with every Node version.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { root } from '../root.mjs';

const TFJS_VERSION = '4.22.0';
const WHEEL_VERSION = '2.21.0';
const WHEEL_HASH = '2b847d217b02ee7731ed91431daf3250daa0196c3c94614d23be27232e6e5b6c';
const NODE_API_HEADERS_VERSION = '1.9.0';
/** libtensorflow does not depend on the Python version; a fixed one is named so that every version of pip finds it. */
const WHEEL_PYTHON = '3.11';
const HEADERS = ['tensorflow/c', 'tensorflow/core/platform', 'xla/tsl', 'tsl'];

const home = join(root, '.cache/tensorflow');
const scope = (prefix) => join(prefix, 'node_modules/@tensorflow');

function run(command, args, options = {}) {
  execFileSync(command, args, { stdio: ['ignore', 2, 2], ...options });
}

function log(message) {
  console.error(`engines:tensorflow: ${message}`);
}

/** Runs a multiplication in a child process, because a broken library may crash the process. @throws if it fails */
function checkBinding(prefix, stderr) {
  const script = `
    const util = require('node:util');
    util.isNullOrUndefined ??= (value) => value == null; // removed in Node 23, but tfjs-node uses it
    const tf = require(process.argv[1]);
    if (tf.getBackend() !== 'tensorflow') throw new Error('backend is ' + tf.getBackend());
    if (tf.matMul([[2]], [[3]]).dataSync()[0] !== 6) throw new Error('2 * 3 is not 6');`;
  const args = ['-e', script, join(scope(prefix), 'tfjs-node')];
  const env = { ...process.env, TF_CPP_MIN_LOG_LEVEL: '2' };
  execFileSync(process.execPath, args, { stdio: ['ignore', 'ignore', stderr], env });
}

function installPackages(prefix) {
  const names = [`@tensorflow/tfjs-node@${TFJS_VERSION}`, `node-api-headers@${NODE_API_HEADERS_VERSION}`];
  const flags = ['--ignore-scripts', '--no-save', '--no-package-lock', '--no-audit', '--no-fund', '--silent'];
  // Runs in the folder of the prefix: otherwise npm would install into the project of this repository.
  execFileSync('npm', ['install', ...flags, '--prefix', prefix, ...names], {
    stdio: ['ignore', 2, 2],
    cwd: prefix,
  });
  // Used only to unpack the download of tfjs-node, which is not used here; this version has known vulnerabilities.
  rmSync(join(prefix, 'node_modules/tar'), { recursive: true, force: true });
}

/** Removes packages that the project has in the same version, so that a process loads tfjs-core only once. */
function removeSharedPackages(prefix) {
  for (const name of [
    'tfjs',
    'tfjs-core',
    'tfjs-layers',
    'tfjs-converter',
    'tfjs-data',
    'tfjs-backend-cpu',
    'tfjs-backend-webgl',
  ]) {
    const manifest = (where) => join(scope(where), name, 'package.json');
    if (!existsSync(manifest(root)) || !existsSync(manifest(prefix))) continue;
    const version = (where) => JSON.parse(readFileSync(manifest(where), 'utf8')).version;
    if (version(root) === version(prefix)) rmSync(dirname(manifest(prefix)), { recursive: true });
  }
}

function downloadLibrary(prefix) {
  const wheels = join(prefix, 'wheel');
  const requirement = join(prefix, 'requirements.txt');
  writeFileSync(requirement, `tensorflow-cpu==${WHEEL_VERSION} --hash=sha256:${WHEEL_HASH}\n`);
  run('python3', [
    ...['-m', 'pip', 'download', '--quiet', '--no-deps', '--only-binary=:all:', '--dest', wheels],
    ...['--python-version', WHEEL_PYTHON, '--platform', 'manylinux_2_27_x86_64'],
    ...['--require-hashes', '-r', requirement],
  ]);
  const unpack = `
import glob, sys, zipfile
wheels, out = sys.argv[1], sys.argv[2]
prefixes = ('tensorflow/libtensorflow',) + tuple('tensorflow/include/' + d + '/' for d in sys.argv[3:])
with zipfile.ZipFile(glob.glob(wheels + '/*.whl')[0]) as wheel:
    wheel.extractall(out, [name for name in wheel.namelist() if name.startswith(prefixes)])
`;
  run('python3', ['-c', unpack, wheels, join(prefix, 'unpacked'), ...HEADERS]);
  rmSync(wheels, { recursive: true });
  const deps = join(scope(prefix), 'tfjs-node/deps');
  mkdirSync(join(deps, 'lib'), { recursive: true });
  renameSync(join(prefix, 'unpacked/tensorflow/include'), join(deps, 'include'));
  for (const [file, link] of [
    ['libtensorflow_cc.so.2', 'libtensorflow.so'],
    ['libtensorflow_framework.so.2', 'libtensorflow_framework.so'],
  ]) {
    renameSync(join(prefix, 'unpacked/tensorflow', file), join(deps, 'lib', file));
    symlinkSync(file, join(deps, 'lib', link));
  }
  rmSync(join(prefix, 'unpacked'), { recursive: true });
}

/** Compiles like node-gyp with binding.gyp, but without the headers of Node. */
function compile(prefix) {
  const tfjs = join(scope(prefix), 'tfjs-node');
  const out = join(tfjs, 'lib/napi-v8');
  mkdirSync(out, { recursive: true });
  run(process.env.CXX ?? 'g++', [
    ...['-std=c++17', '-O2', '-fPIC', '-shared', '-DNAPI_VERSION=8', '-DNODE_GYP_MODULE_NAME=tfjs_binding'],
    ...[`-I${join(prefix, 'node_modules/node-api-headers/include')}`, `-I${join(tfjs, 'deps/include')}`],
    ...[join(tfjs, 'binding/tfjs_backend.cc'), join(tfjs, 'binding/tfjs_binding.cc')],
    ...[
      `-L${join(tfjs, 'deps/lib')}`,
      '-Wl,-rpath,$ORIGIN/../../deps/lib',
      '-ltensorflow',
      '-ltensorflow_framework',
    ],
    ...['-o', join(out, 'tfjs_binding.node')],
  ]);
}

function buildAt(prefix) {
  rmSync(prefix, { recursive: true, force: true });
  mkdirSync(prefix, { recursive: true });
  log(`installing tfjs-node ${TFJS_VERSION} without its download script`);
  installPackages(prefix);
  log(`downloading libtensorflow ${WHEEL_VERSION} from PyPI (274 MB)`);
  downloadLibrary(prefix);
  log('compiling the addon');
  compile(prefix);
  removeSharedPackages(prefix);
}

if (process.platform !== 'linux' || process.arch !== 'x64') {
  log('works only on Linux on x86-64; on other systems use: npm install --no-save @tensorflow/tfjs-node');
  process.exit(1);
}
try {
  checkBinding(home, 'ignore');
  log(`ready in ${home}`);
} catch {
  // Builds in another folder and renames it when it works, so that the engine never finds a partial build.
  const fresh = join(root, '.cache/tensorflow.new');
  buildAt(fresh);
  checkBinding(fresh, 2);
  rmSync(home, { recursive: true, force: true });
  renameSync(fresh, home);
  log(`built in ${home}`);
}
