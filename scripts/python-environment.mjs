// Creates a Python virtual environment under .cache with the packages of a requirements file, once.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './prepare.mjs';

/**
 * @param requirements a file of pinned packages; @param interpreter of which the environment is made
 * @returns the interpreter of the virtual environment .cache/<name> with these packages
 */
export function pythonEnvironment(name, requirements, interpreter = 'python3') {
  const home = join(root, '.cache', name);
  const python = join(home, process.platform === 'win32' ? 'Scripts/python.exe' : 'bin/python');
  const stamp = join(home, '.installed');
  const required = readFileSync(requirements, 'utf8');
  const installed = `${interpreter}\n${required}`;
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === installed) return python;
  console.error(`${name}: installing from PyPI (once): ${required.trim().split('\n').join(', ')}`);
  const run = (command, args) => execFileSync(command, args, { cwd: root, stdio: ['ignore', 2, 2] });
  run(interpreter, ['-m', 'venv', '--clear', home]);
  run(python, ['-m', 'pip', 'install', '--quiet', '-r', requirements]);
  writeFileSync(stamp, installed);
  return python;
}
