// `npm run engines:openvino`: extracts the C library, the CPU plugin and the ONNX reader of OpenVINO from the PyPI wheel
// `openvino` into .cache/openvino, for the engine `openvino`. Needs Python with pip; nothing is installed. A copy that
// works is kept.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../root.mjs';
import { OPENVINO_HASHES as HASHES, OPENVINO_VERSION as VERSION } from './openvino-version.mjs';

/** The libraries do not depend on the Python version; a fixed one is named so that every version of pip finds the wheel. */
const WHEEL_PYTHON = '3.11';
const PLATFORMS = {
  'linux-x64': 'manylinux_2_28_x86_64',
  'linux-arm64': 'manylinux_2_35_aarch64',
  'darwin-arm64': 'macosx_11_0_arm64',
  'win32-x64': 'win_amd64',
};
/** Libraries to extract; the others in the wheel are for other formats, other devices and the Python binding. */
const NEEDED_LIBRARIES = /openvino(_c|_onnx_frontend|_(intel|arm)_cpu_plugin)?[.-]|tbb|hwloc/;

const home = join(root, '.cache/openvino');

function log(message) {
  console.error(`engines:openvino: ${message}`);
}

/**
 * Loads the library in a child process, because a broken library may crash the process.
 * @returns whether it has the right version
 * @throws if it cannot be loaded
 */
function checkLibrary(folder, stderr) {
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

function downloadTo(folder, platform) {
  rmSync(folder, { recursive: true, force: true });
  const python = process.platform === 'win32' ? 'python' : 'python3';
  const run = (...args) => execFileSync(python, args, { stdio: ['ignore', 2, 2] });
  log(`downloading openvino ${VERSION} from PyPI`);
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
folder, wheel, version, needed = sys.argv[1:]
with zipfile.ZipFile(os.path.join(folder, wheel)) as archive:
    for name in archive.namelist():
        base = os.path.basename(name)
        licence = re.search(r'LICEN[CS]E|third-party', name)
        if not licence and not (name.startswith('openvino/libs/') and re.search(needed, base)):
            continue
        with open(os.path.join(folder, base), 'wb') as file:
            file.write(archive.read(name))
with open(os.path.join(folder, 'VERSION'), 'w') as file:
    file.write(version)
`;
  run('-c', unpack, folder, wheel, VERSION, NEEDED_LIBRARIES.source);
  rmSync(join(folder, wheel));
}

const platform = PLATFORMS[`${process.platform}-${process.arch}`];
if (platform === undefined) {
  log(
    `PyPI has no openvino ${VERSION} for ${process.platform} on ${process.arch}; the engine onnx works without it`,
  );
  process.exit(1);
}
let isReady = false;
try {
  isReady = checkLibrary(home, 'ignore');
} catch {
  // Missing or broken: downloaded below.
}
if (!isReady) {
  // Downloads to another folder and renames it when it works, so that the engine never finds a partial download.
  const fresh = `${home}.new`;
  downloadTo(fresh, platform);
  checkLibrary(fresh, 2);
  rmSync(home, { recursive: true, force: true });
  renameSync(fresh, home);
}
log(`ready in ${home}`);
