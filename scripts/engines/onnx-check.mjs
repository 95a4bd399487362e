// `npm run all -- onnx:check`: exports every shipped bundle with `salad models export --onnx`, checks the files with
// onnx.checker and runs them in Python's onnxruntime, both from PyPI (kept under .cache/onnx-check), so that other
// programs can load the exported models.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, install, root } from '../prepare.mjs';
import { pythonEnvironment } from '../python-environment.mjs';

const here = dirname(fileURLToPath(import.meta.url));
/** @returns whether the export of the newest version of this model passes the checks */
function check(name, scratch) {
  const versions = readdirSync(join(root, 'models', name)).sort((a, b) => Number(b) - Number(a));
  const bundle = join(root, 'models', name, versions[0]);
  const file = join(scratch, `${name}.onnx`);
  const args = ['dist/src/main.js', 'models', 'export', bundle, '--onnx', file];
  execFileSync(process.execPath, args, { cwd: root, stdio: ['ignore', 2, 2] });
  const { status } = spawnSync(python, [join(here, 'onnx-check/check.py'), file, bundle], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  return status === 0;
}

install();
build();
const python = pythonEnvironment('onnx-check', join(here, 'onnx-check/requirements.txt'));
const scratch = mkdtempSync(join(tmpdir(), 'salad-onnx-'));
try {
  const names = readdirSync(join(root, 'models'));
  const failed = names.filter((name) => !check(name, scratch));
  console.log(`onnx:check: ${names.length - failed.length} of ${names.length} models pass`);
  if (names.length === 0 || failed.length > 0) process.exitCode = 1;
} finally {
  rmSync(scratch, { recursive: true });
}
