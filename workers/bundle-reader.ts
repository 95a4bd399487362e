/** Worker thread. Reads one bundle for a server that serves others meanwhile: hashing and decoding take long. */
import { readBundle } from '../src/bundle/bundle.js';
import type { ReadRequest, ReadResult } from '../src/bundle/read-in-thread.js';
import { toErrorData } from '../src/errors/transfer.js';
import { yieldCores } from './yield-cores.js';

export default async function read({ directory, expected }: ReadRequest): Promise<ReadResult> {
  yieldCores();
  try {
    return { bundle: await readBundle(directory, expected) };
  } catch (error) {
    return { error: toErrorData(error) };
  }
}
