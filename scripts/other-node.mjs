// `node scripts/other-node.mjs MAJOR ...`: downloads other major versions of Node from the npm registry into .cache.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { root } from './root.mjs';

/** Downloads the binary if it is missing. @returns its path, also if the registry has none for this platform */
export function otherNode(major) {
  const name = `node-${process.platform === 'win32' ? 'win' : process.platform}-${process.arch}`;
  const prefix = join(root, '.cache', `node${major}`);
  const binary = join(prefix, 'node_modules', name, 'bin', 'node');
  if (!existsSync(binary)) {
    const flags = ['--silent', '--no-save', '--no-package-lock', '--ignore-scripts', '--prefix', prefix];
    spawnSync('npm', ['install', ...flags, `${name}@${major}`], {
      stdio: ['ignore', 2, 2],
      shell: process.platform === 'win32',
    });
  }
  return binary;
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  for (const major of process.argv.slice(2)) {
    const binary = otherNode(major);
    const { stdout } = spawnSync(binary, ['--version'], { encoding: 'utf8' });
    console.log(`node: ${major}: ${stdout?.trim() ?? 'not available for this platform'}`);
    if (!stdout) process.exitCode = 1;
  }
}
