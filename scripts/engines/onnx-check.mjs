// `npm run all -- onnx:check`: every shipped bundle as `salad models export --onnx` writes it, checked by
// onnx.checker and run by Python's onnxruntime, both from PyPI (kept under .cache/onnx-check). Other people's
// programs must be able to load what we write.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, install } from '../prepare.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const root = dirname(dirname(here));
const home = join(root, '.cache/onnx-check');
const python = join(home, process.platform === 'win32' ? 'Scripts/python.exe' : 'bin/python');
const requirements = join(here, 'onnx-check/requirements.txt');

function run(command, args) {
  execFileSync(command, args, { cwd: root, stdio: ['ignore', 2, 2] });
}

/** What requirements.txt pins, unless that very text was installed before. */
function installPython() {
  const stamp = join(home, '.installed');
  const wanted = readFileSync(requirements, 'utf8');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return;
  console.error('onnx:check: installing onnx and onnxruntime from PyPI (once) ...');
  run('python3', ['-m', 'venv', '--clear', home]);
  run(python, ['-m', 'pip', 'install', '--quiet', '-r', requirements]);
  writeFileSync(stamp, wanted);
}

/** @returns whether the export of the newest version of this model passes */
function check(name, scratch) {
  const versions = readdirSync(join(root, 'models', name)).sort((a, b) => Number(b) - Number(a));
  const bundle = join(root, 'models', name, versions[0]);
  const file = join(scratch, `${name}.onnx`);
  run(process.execPath, ['dist/src/main.js', 'models', 'export', bundle, '--onnx', file]);
  const { status } = spawnSync(python, [join(here, 'onnx-check/check.py'), file, bundle], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  return status === 0;
}

install();
build();
installPython();
const scratch = mkdtempSync(join(tmpdir(), 'salad-onnx-'));
try {
  const names = readdirSync(join(root, 'models'));
  const failed = names.filter((name) => !check(name, scratch));
  console.log(`onnx:check: ${names.length - failed.length} of ${names.length} models pass`);
  if (names.length === 0 || failed.length > 0) process.exitCode = 1;
} finally {
  rmSync(scratch, { recursive: true });
}
