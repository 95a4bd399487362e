// The environments in which the Python client is tested: the newest packages, and the oldest with the oldest Python.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { pythonEnvironment } from '../python-environment.mjs';
import { root } from '../root.mjs';

const OLDEST_PYTHON = '3.9';

/** @returns the interpreters of both environments */
export function pythonClientEnvironments() {
  const environment = (name, interpreter) => {
    const requirements = join(root, 'clients/python/requirements', `${name}.txt`);
    return pythonEnvironment(`python-client-${name}`, requirements, interpreter);
  };
  return {
    newest: environment('newest', 'python3'),
    oldest: environment('oldest', pythonOf(OLDEST_PYTHON)),
  };
}

/** In PATH or among the versions of pyenv; `python3` where the machine has no such version. */
function pythonOf(version) {
  const pyenv = output('pyenv', ['prefix', version]);
  const candidates = [`python${version}`, ...(pyenv === undefined ? [] : [join(pyenv, 'bin/python3')])];
  const isVersion = (python) => output(python, ['--version'])?.startsWith(`Python ${version}.`);
  return candidates.find(isVersion) ?? 'python3';
}

function output(command, args) {
  try {
    return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return undefined;
  }
}
