// The environments in which the Python client is tested: the oldest packages with the oldest Python, the newest, and
// the versions of protobuf between them. test/slow/clients/python.test.ts says which versions each must have.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { pythonEnvironment } from '../python-environment.mjs';
import { root } from '../root.mjs';

/** Each is a file of clients/python/requirements. */
const NAMES = ['oldest', 'protobuf-4', 'protobuf-5', 'protobuf-6', 'newest'];
const OLDEST_PYTHON = '3.9';

/** @returns the interpreter of an environment */
export function pythonClientEnvironment(name) {
  const requirements = join(root, 'clients/python/requirements', `${name}.txt`);
  const interpreter = name === 'oldest' ? pythonOf(OLDEST_PYTHON) : 'python3';
  return pythonEnvironment(`python-client-${name}`, requirements, interpreter);
}

/** @returns the interpreters of all environments, by name */
export function pythonClientEnvironments() {
  return Object.fromEntries(NAMES.map((name) => [name, pythonClientEnvironment(name)]));
}

/** In PATH or among the versions of pyenv. @throws Error where the machine has no such version */
function pythonOf(version) {
  const pyenv = output('pyenv', ['prefix', version]);
  const candidates = [`python${version}`, ...(pyenv === undefined ? [] : [join(pyenv, 'bin/python3')])];
  const isVersion = (python) => output(python, ['--version'])?.startsWith(`Python ${version}.`);
  const found = candidates.find(isVersion);
  if (found !== undefined) return found;
  throw new Error(
    `Python ${version} is missing: the client is tested with it. Put python${version} into PATH, or run ` +
      `\`pyenv install ${version}\`.`,
  );
}

function output(command, args) {
  try {
    return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return undefined;
  }
}
