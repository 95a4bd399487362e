// `npm run engines:openvino`: OpenVINO's C library, its CPU plugin and its ONNX reader out of PyPI's `openvino`
// wheel, for the engine of that name. Needs Python with pip; nothing is installed. What is there and loads is kept.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../root.mjs';
import { OPENVINO_HASHES as HASHES, OPENVINO_VERSION as VERSION } from './openvino-version.mjs';

/** The libraries do not depend on the Python version; one is named so that any pip finds them. */
const WHEEL_PYTHON = '3.11';
const PLATFORMS = {
  'linux-x64': 'manylinux_2_28_x86_64',
  'linux-arm64': 'manylinux_2_35_aarch64',
  'darwin-arm64': 'macosx_11_0_arm64',
  'win32-x64': 'win_amd64',
};
/** Of the libraries in the wheel: the rest are other formats, other devices and the Python binding. */
const WANTED = /openvino(_c|_onnx_frontend|_(intel|arm)_cpu_plugin)?[.-]|tbb|hwloc/;

const home = join(root, '.cache/openvino');

function say(message) {
  console.error(`engines:openvino: ${message}`);
}

/** In a process of its own: a library that does not load must not take this script along. */
function loads(folder, stderr) {
  const script = `
    const { join } = require('node:path');
    const folder = process.argv[1];
    const name = require('node:fs').readdirSync(folder).find((file) => /openvino_c\\.(so|dll|dylib|[0-9])/.test(file));
    const library = require('koffi').load(join(folder, name));
    const core = [null];
    if (library.func('int ov_core_create(_Out_ void **core)')(core) !== 0) throw new Error('no core');`;
  execFileSync(process.execPath, ['-e', script, folder], { stdio: ['ignore', 'ignore', stderr], cwd: root });
  return readFileSync(join(folder, 'VERSION'), 'utf8') === VERSION;
}

function fetchTo(folder, platform) {
  rmSync(folder, { recursive: true, force: true });
  const python = process.platform === 'win32' ? 'python' : 'python3';
  const run = (...args) => execFileSync(python, args, { stdio: ['ignore', 2, 2] });
  say(`fetching openvino ${VERSION} from PyPI`);
  mkdirSync(folder, { recursive: true });
  const requirement = join(folder, 'requirements.txt');
  writeFileSync(requirement, `openvino==${VERSION} --hash=sha256:${HASHES[platform]}\n`);
  run(
    ...['-m', 'pip', 'download', '--quiet', '--no-deps', '--only-binary=:all:', '--dest', folder],
    ...['--python-version', WHEEL_PYTHON, '--platform', platform, '--require-hashes', '-r', requirement],
  );
  rmSync(requirement);
  const wheel = readdirSync(folder).find((name) => name.endsWith('.whl'));
  const unpack = `
import os, re, sys, zipfile
folder, wheel, version, wanted = sys.argv[1:]
with zipfile.ZipFile(os.path.join(folder, wheel)) as archive:
    for name in archive.namelist():
        base = os.path.basename(name)
        licence = re.search(r'LICEN[CS]E|third-party', name)
        if not licence and not (name.startswith('openvino/libs/') and re.search(wanted, base)):
            continue
        with open(os.path.join(folder, base), 'wb') as file:
            file.write(archive.read(name))
with open(os.path.join(folder, 'VERSION'), 'w') as file:
    file.write(version)
`;
  run('-c', unpack, folder, wheel, VERSION, WANTED.source);
  rmSync(join(folder, wheel));
}

const platform = PLATFORMS[`${process.platform}-${process.arch}`];
if (platform === undefined) {
  say(`PyPI has no openvino ${VERSION} for ${process.platform} on ${process.arch}`);
  process.exit(1);
}
let isReady = false;
try {
  isReady = loads(home, 'ignore');
} catch {
  // Absent or broken: fetched below.
}
if (!isReady) {
  // Beside it and moved when it loads: a half-fetched one is never found by the engine.
  const fresh = `${home}.new`;
  fetchTo(fresh, platform);
  loads(fresh, 2);
  rmSync(home, { recursive: true, force: true });
  renameSync(fresh, home);
}
say(`ready in ${home}`);
