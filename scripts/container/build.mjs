// `node scripts/container/build.mjs [cpu|gpu|modality ...]`: builds localhost/salad-serve:cpu (the default), :gpu and
// :modality with buildah on base images of Debian packages, and prints one JSON line per image. Needs root on Debian.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeBases } from './bases.mjs';
import { ensureTools, fail, log, read, root, run } from './tools.mjs';

const BASE_OF = { cpu: 'salad-base', gpu: 'salad-gpu-base', modality: 'salad-base' };

export const imageName = (target) => `localhost/salad-serve:${target}`;

/** The OpenVINO libraries for the platform of this machine; none if PyPI has none for it, so that `onnx` serves. */
function openVinoContext() {
  const { status } = spawnSync(process.execPath, [join(root, 'scripts/engines/openvino.mjs')], {
    stdio: ['ignore', 2, 2],
  });
  return status === 0 ? ['--build-context', `openvino=${join(root, '.cache/openvino')}`] : [];
}

/** Builds one target; unchanged layers come from the store of buildah. */
export function buildImage(target) {
  ensureTools();
  makeBases(['salad-build-base', BASE_OF[target]]);
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const npmCache = read('npm', ['config', 'get', 'cache']);
  const authorities = process.env.NODE_EXTRA_CA_CERTS ?? '';
  log(`building ${imageName(target)}`);
  run('buildah', [
    ...['build', '--quiet', '--layers', '--isolation', 'chroot', '--pull-never', '--target', target],
    // The npm cache of this machine, and its certificates if a proxy needs them, are mounted and not copied into a layer.
    ...(existsSync(npmCache) ? ['--volume', `${npmCache}:/root/.npm`] : []),
    ...(authorities === '' ? [] : ['--volume', `${authorities}:${authorities}:ro`]),
    ...(target === 'modality' ? [] : openVinoContext()),
    ...['--build-arg', `NODE_EXTRA_CA_CERTS=${authorities}`],
    ...['--build-arg', `VERSION=${version}`, '--build-arg', `REVISION=${read('git', ['rev-parse', 'HEAD'])}`],
    ...['--build-arg', `CREATED=${read('git', ['log', '-1', '--format=%cI'])}`],
    ...['--file', 'Containerfile', '--tag', imageName(target), '.'],
  ]);
  const [image] = JSON.parse(read('podman', ['image', 'inspect', imageName(target)]));
  return { image: imageName(target), id: image.Id.slice(0, 12), megabytes: Math.round(image.Size / 1e6) };
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  const targets = process.argv.slice(2);
  for (const target of targets.length === 0 ? ['cpu'] : targets) {
    if (!(target in BASE_OF)) fail(`unknown target ${target}; targets: ${Object.keys(BASE_OF).join(', ')}`);
    console.log(JSON.stringify(buildImage(target)));
  }
}
