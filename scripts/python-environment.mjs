// Creates a Python virtual environment under .cache with the packages of a requirements file, once.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './prepare.mjs';

/** @returns the interpreter of the virtual environment .cache/<name> with the packages of the file `requirements` */
export function pythonEnvironment(name, requirements) {
  const home = join(root, '.cache', name);
  const python = join(home, process.platform === 'win32' ? 'Scripts/python.exe' : 'bin/python');
  const stamp = join(home, '.installed');
  const required = readFileSync(requirements, 'utf8');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === required) return python;
  console.error(`${name}: installing from PyPI (once): ${required.trim().split('\n').join(', ')}`);
  const run = (command, args) => execFileSync(command, args, { cwd: root, stdio: ['ignore', 2, 2] });
  run('python3', ['-m', 'venv', '--clear', home]);
  run(python, ['-m', 'pip', 'install', '--quiet', '-r', requirements]);
  writeFileSync(stamp, required);
  return python;
}
