/** Reads a bundle in a thread of its own, so that a server answers meanwhile: a bundle may have hundreds of megabytes. */
import { fileURLToPath } from 'node:url';
import { Piscina } from 'piscina';
import { type ErrorData, fromErrorData } from '../errors/transfer.js';
import type { Bundle } from './bundle.js';
import type { ModelIdentity } from './files.js';

export interface ReadRequest {
  readonly directory: string;
  readonly expected: ModelIdentity;
}

export type ReadResult = { readonly bundle: Bundle } | { readonly error: ErrorData };

/** As `readBundle`. @throws SaladError BUNDLE_INVALID */
export async function readBundleInThread(directory: string, expected: ModelIdentity): Promise<Bundle> {
  const thread = new Piscina<ReadRequest, ReadResult>({
    filename: entry(),
    maxThreads: 1,
    recordTiming: false,
  });
  try {
    const result = await thread.run({ directory, expected });
    if ('error' in result) throw fromErrorData(result.error);
    return result.bundle;
  } finally {
    await thread.destroy();
  }
}

/** The built package has a JavaScript file; in a checkout a small entry registers tsx before it imports the source. */
function entry(): string {
  const name = import.meta.url.endsWith('.ts') ? 'bundle-reader.checkout.mjs' : 'bundle-reader.js';
  return fileURLToPath(new URL(`../../workers/${name}`, import.meta.url));
}
