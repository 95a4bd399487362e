/** Finds the two optional packages of the engine `webgpu`. */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { packageRoot } from '../../../util/package-root.js';

/** Package that `npm run engines:webgpu` installs, relative to the root of the checkout or of the installed package. */
const INSTALLED_PACKAGE = '.cache/webgpu/package.json';

/** `require` that resolves from `.cache/webgpu` where that exists, else from this file. */
function resolver(): NodeJS.Require {
  const entry = join(packageRoot(), INSTALLED_PACKAGE);
  return createRequire(existsSync(entry) ? entry : import.meta.url);
}

/** Imports Dawn's bindings, an ES module. @throws Error where they are not installed or do not load */
export async function importDawn(): Promise<unknown> {
  return import(pathToFileURL(resolver().resolve('webgpu')).href);
}

/** Loads tfjs' WebGPU backend, a CommonJS module. @throws Error where it is not installed or does not load */
export function requireBackend(): unknown {
  return resolver()('@tensorflow/tfjs-backend-webgpu');
}
