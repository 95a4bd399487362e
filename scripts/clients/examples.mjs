// The examples for languages without a client of ours, by the commands of their READMEs.
import { execFileSync } from 'node:child_process';
import { cpSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../root.mjs';
import { cppEnvironment } from './cpp-example.mjs';

/**
 * Builds a copy of an example with the commands of its README, of which the last one runs it.
 * @param language `cpp` or `java`
 * @param out a folder for the copy
 * @returns the last command, and where it runs
 */
export function buildExample(language, out) {
  const example = join('clients', language);
  for (const part of ['proto', example]) cpSync(join(root, part), join(out, part), { recursive: true });
  const readme = readFileSync(join(root, example, 'README.md'), 'utf8');
  const [, block = ''] = /^```sh\n([\s\S]*?)^```$/m.exec(readme) ?? [];
  const lines = block.trimEnd().split('\n');
  const command = lines.pop();
  const options = { cwd: join(out, example), env: language === 'cpp' ? cppEnvironment() : process.env };
  execFileSync('bash', ['-euo', 'pipefail', '-c', lines.join('\n')], { ...options, stdio: ['ignore', 2, 2] });
  return { command, ...options };
}
