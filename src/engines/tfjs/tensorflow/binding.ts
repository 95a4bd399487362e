/** Finds and loads TensorFlow's native binding, which may be absent, partly installed or built for another CUDA. */
import { existsSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { SaladError } from '../../../errors/index.js';
import { packageRoot } from '../../../util/package-root.js';

/** Best first. */
const PACKAGES = ['@tensorflow/tfjs-node-gpu', '@tensorflow/tfjs-node'] as const;
/** Package that `npm run engines:tensorflow` builds, relative to the root of the checkout. */
const BUILT_PACKAGE = '.cache/tensorflow/package.json';

const require = createRequire(import.meta.url);

/** The binding that this thread has loaded. */
export interface TensorflowBinding {
  readonly package: string;
  /** Of libtensorflow, such as 2.21.0. */
  readonly version: string;
  /** True where TensorFlow placed the backend on a CUDA device. */
  readonly usesGpu: boolean;
}

/** An installed package that may hold a working binding. */
export interface BindingPackage {
  readonly name: string;
  readonly directory: string;
}

function directoryOf(name: string, from: NodeJS.Require): string | undefined {
  try {
    return dirname(from.resolve(`${name}/package.json`));
  } catch {
    return undefined;
  }
}

/** `require` that resolves the binding which `npm run engines:tensorflow` built. */
function builtRequire(): NodeJS.Require | undefined {
  const entry = join(packageRoot(), BUILT_PACKAGE);
  return existsSync(dirname(entry)) ? createRequire(entry) : undefined;
}

function installedPackages(): readonly BindingPackage[] {
  const built = builtRequire();
  const found: BindingPackage[] = [];
  for (const from of built === undefined ? [require] : [require, built]) {
    for (const name of PACKAGES) {
      const directory = directoryOf(name, from);
      if (directory !== undefined && !found.some((other) => other.directory === directory)) {
        found.push({ name, directory });
      }
    }
  }
  return found;
}

/** The compiled addon inside a package. Its folder is named after a Node-API version, which may be any. */
function addonOf(directory: string): string {
  const lib = join(directory, 'lib');
  const folders = existsSync(lib) ? readdirSync(lib) : [];
  const addon = folders.map((name) => join(lib, name, 'tfjs_binding.node')).find(existsSync);
  if (addon === undefined) throw new Error('its native library tfjs_binding.node is not installed');
  return addon;
}

/** tfjs-node 4.22 calls functions of `util` that Node 23 removed, or that print a deprecation warning. */
function restoreUtil(): void {
  const util = require('node:util') as Record<string, unknown>;
  util['isNullOrUndefined'] ??= (value: unknown) => value === null || value === undefined;
  util['isArray'] = Array.isArray;
}

async function start({ name, directory }: BindingPackage): Promise<TensorflowBinding> {
  // Loads the addon first: the package would register its kernels before it finds that the addon is broken.
  const addon = require(addonOf(directory)) as { readonly TF_Version?: unknown };
  restoreUtil();
  require(directory);
  if (!(await tf.setBackend('tensorflow'))) throw new Error('its backend does not start');
  const version = String(addon.TF_Version);
  return { package: name, version, usesGpu: Reflect.get(tf.backend(), 'isUsingGpuDevice') === true };
}

/**
 * Loads the first package that works: it registers the tfjs backend `tensorflow`, which becomes the current one.
 * @throws SaladError ENGINE_UNAVAILABLE with the reason of every package tried.
 */
export async function startBinding(packages: readonly BindingPackage[]): Promise<TensorflowBinding> {
  const reasons: string[] = [];
  for (const candidate of packages) {
    try {
      return await start(candidate);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      reasons.push(`${candidate.name}: ${message.split('\n')[0]}`);
    }
  }
  const why = reasons.length > 0 ? reasons.join('; ') : `${PACKAGES.join(' and ')} are not installed`;
  throw new SaladError(
    'ENGINE_UNAVAILABLE',
    `tensorflow does not load (${why}); see docs/explanation/engines.md`,
  );
}

let loaded: TensorflowBinding | undefined;

/**
 * Loads the binding once per thread and makes `tensorflow` the current tfjs backend.
 * @throws SaladError ENGINE_UNAVAILABLE with the reason of every package tried.
 */
export async function loadTensorflow(): Promise<TensorflowBinding> {
  if (loaded === undefined) loaded = await startBinding(installedPackages());
  else await tf.setBackend('tensorflow');
  return loaded;
}
