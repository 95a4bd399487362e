// The CI step `container`: builds the CPU image, prints its size and runs test/container, which starts the image.
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { program } from '../helm/tools.mjs';
import { buildImage } from './build.mjs';
import { root } from './tools.mjs';

program('helm');
const image = buildImage('cpu');
console.log(`container: ${image.image} is ${image.megabytes} MB`);
const tests = readdirSync(join(root, 'test/container')).map((file) => join('test/container', file));
const { status } = spawnSync(process.execPath, ['node_modules/mocha/bin/mocha.js', ...tests], {
  cwd: root,
  stdio: 'inherit',
});
process.exitCode = status ?? 1;
