/** Finds the two optional packages of the engine `webgpu`. */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { packageRoot } from '../../../util/package-root.js';

/** Where `npm run engines:webgpu` installs them, below the root of the checkout or of the installed package. */
const INSTALLED = '.cache/webgpu/package.json';

/** Resolves from `.cache/webgpu` where it is there, else from this file. */
function resolver(): NodeJS.Require {
  const entry = join(packageRoot(), INSTALLED);
  return createRequire(existsSync(entry) ? entry : import.meta.url);
}

/** Dawn's bindings, an ES module. @throws Error where they are not installed or do not load */
export async function importDawn(): Promise<unknown> {
  return import(pathToFileURL(resolver().resolve('webgpu')).href);
}

/** tfjs' WebGPU backend, a CommonJS module. @throws Error where it is not installed or does not load */
export function requireBackend(): unknown {
  return resolver()('@tensorflow/tfjs-backend-webgpu');
}
