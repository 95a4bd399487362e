// npm runs this when the package is installed, before any install script of a dependency. onnxruntime-node's script
// would fetch CUDA libraries (some hundred MB, used by no default engine) from a host outside the npm registry, and the
// whole installation would fail where that host is not reached. The script ends at once where the files are there:
// empty ones are made. `node ./script/install --onnxruntime-node-install=cuda12` in its folder still fetches them.
import { existsSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { root } from '../root.mjs';

/** Files that onnxruntime-node's install script would fetch here. */
function wantedFiles() {
  const require = createRequire(join(root, 'package.json'));
  const folder = dirname(require.resolve('onnxruntime-node/package.json'));
  const { requirements, manifests } = require('onnxruntime-node/script/install-metadata.js');
  const platform = `${process.platform}/${process.arch}`;
  return (requirements[platform] ?? [])
    .flatMap((name) => Object.keys(manifests[`${platform}:${name}`] ?? {}))
    .map((file) => join(folder, 'bin/napi-v6', platform, file));
}

// A checkout's packages are left as they are: its lock file lets no install script run.
if (root.includes('node_modules')) {
  try {
    for (const file of wantedFiles()) if (!existsSync(file)) writeFileSync(file, '');
  } catch (error) {
    console.error(`salad-serve: onnxruntime-node's install script was not held back: ${error.message}`);
  }
}
