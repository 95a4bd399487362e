// Clients of the Open Inference Protocol that know nothing of this project: tritonclient and KServe's client, Triton's
// perf_analyzer, and ghz.
import { existsSync, readdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { unpackDebian } from '../debian-packages.mjs';
import { goProgram } from '../go-program.mjs';
import { pythonEnvironment } from '../python-environment.mjs';
import { root } from '../root.mjs';

const tests = join(root, 'test/slow/open-inference');
const GHZ = 'github.com/bojand/ghz/cmd/ghz@v0.120.0';

/** @returns the interpreter of an environment with tritonclient and KServe's client, which must not be imported together */
export const inferenceClients = () => pythonEnvironment('open-inference', join(tests, 'requirements.txt'));

/** Path of the built program. */
export const ghz = () => goProgram('ghz', GHZ, join(root, '.cache/ghz'));

/**
 * perf_analyzer of tritonclient 2.41.1, the newest that runs with the C library of Debian 12. It is linked with two
 * libraries that its wheel lacks.
 * @returns the program, and the environment that it needs
 */
export function perfAnalyzer() {
  const python = pythonEnvironment('perf-analyzer', join(tests, 'perf-requirements.txt'));
  const home = join(python, '../..');
  const base64 = join(root, '.cache/perf-analyzer-libraries');
  if (!existsSync(base64)) unpackDebian(['libb64-0d'], base64);
  const libraries = [
    join(home, 'lib', readdirSync(join(home, 'lib'))[0], 'site-packages/nvidia/cuda_runtime/lib'),
    ...readdirSync(join(base64, 'usr/lib')).map((folder) => join(base64, 'usr/lib', folder)),
  ];
  return {
    program: join(home, 'bin/perf_analyzer'),
    env: { ...process.env, LD_LIBRARY_PATH: libraries.join(delimiter) },
  };
}
