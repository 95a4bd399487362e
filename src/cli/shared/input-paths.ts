/** Checks the input paths of a command line, so that a path that is not there is wrong usage in every command. */
import { stat } from 'node:fs/promises';
import { SaladError, systemReason } from '../../errors/index.js';

/**
 * @param what flag or argument, for the message
 * @throws SaladError CONFIGURATION_INVALID where nothing has this path, or something else than a file or a folder
 */
export async function requireInput(what: string, path: string, kind: 'file' | 'folder'): Promise<void> {
  const info = await stat(path).catch((error: unknown) => {
    throw new SaladError('CONFIGURATION_INVALID', `${what}${path}: ${systemReason(error)}`, { cause: error });
  });
  if (info.isDirectory() === (kind === 'folder')) return;
  throw new SaladError('CONFIGURATION_INVALID', `${what}${path} is not a ${kind}`);
}
