// The CI step `container`: builds the images of the server (CPU) and of the gateway, prints their sizes and runs
// test/container, which starts them.
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { ensureDicomTools } from '../dicom-tools.mjs';
import { program } from '../helm/tools.mjs';
import { buildImage } from './build.mjs';
import { root } from './tools.mjs';

program('helm');
ensureDicomTools();
for (const target of ['cpu', 'modality']) {
  const { image, megabytes } = buildImage(target);
  console.log(`container: ${image} is ${megabytes} MB`);
}
const tests = readdirSync(join(root, 'test/container')).map((file) => join('test/container', file));
const { status } = spawnSync(process.execPath, ['node_modules/mocha/bin/mocha.js', ...tests], {
  cwd: root,
  stdio: 'inherit',
});
process.exitCode = status ?? 1;
