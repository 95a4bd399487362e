/** Finds the two optional packages of the engine `webgpu`. */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

/** Where `npm run engines:webgpu` installs them, below the root of the checkout or of the installed package. */
const INSTALLED = '.cache/webgpu/package.json';

/** Resolves from `.cache/webgpu` of this folder or the nearest one above that has it, else from this file. */
function resolver(): NodeJS.Require {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (folder !== dirname(folder)) {
    const entry = join(folder, INSTALLED);
    if (existsSync(entry)) return createRequire(entry);
    folder = dirname(folder);
  }
  return createRequire(import.meta.url);
}

/** Dawn's bindings, an ES module. @throws Error where they are not installed or do not load */
export async function importDawn(): Promise<unknown> {
  return import(pathToFileURL(resolver().resolve('webgpu')).href);
}

/** tfjs' WebGPU backend, a CommonJS module. @throws Error where it is not installed or does not load */
export function requireBackend(): unknown {
  return resolver()('@tensorflow/tfjs-backend-webgpu');
}
