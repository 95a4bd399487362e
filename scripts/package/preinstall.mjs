// npm runs this script when the package is installed, before the install scripts of dependencies. The install script of
// onnxruntime-node would download CUDA libraries (some hundred MB, used by no default engine) from a host outside the npm
// registry, and the whole installation would fail if that host cannot be reached. It skips files that exist, so this
// script creates empty ones. To download the libraries, run `node ./script/install --onnxruntime-node-install=cuda12` in
// the folder of onnxruntime-node.
import { existsSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { root } from '../root.mjs';

/** Files that the install script of onnxruntime-node would download on this platform. */
function downloadedFiles() {
  const require = createRequire(join(root, 'package.json'));
  const folder = dirname(require.resolve('onnxruntime-node/package.json'));
  const { requirements, manifests } = require('onnxruntime-node/script/install-metadata.js');
  const platform = `${process.platform}/${process.arch}`;
  return (requirements[platform] ?? [])
    .flatMap((name) => Object.keys(manifests[`${platform}:${name}`] ?? {}))
    .map((file) => join(folder, 'bin/napi-v6', platform, file));
}

// Does nothing in a checkout, whose lock file lets no install script run.
if (root.includes('node_modules')) {
  try {
    for (const file of downloadedFiles()) if (!existsSync(file)) writeFileSync(file, '');
  } catch (error) {
    console.error(
      `salad-serve: cannot prevent the download of CUDA libraries by onnxruntime-node: ${error.message}`,
    );
  }
}
