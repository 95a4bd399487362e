/** At most one gateway has an inbox. The operating system releases the lock when its process ends in any way. */
import Database from 'libsql';
import { SaladError } from '../../../../src/errors/index.js';

/**
 * Takes the lock: a transaction that stays open, in a database without content.
 * @returns a function that releases it
 * @throws SaladError CONFIGURATION_INVALID where another process has it
 */
export function lockInbox(path: string): () => void {
  const database = new Database(path);
  try {
    database.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    database.close();
    if ((error as { code?: string }).code !== 'SQLITE_BUSY') throw error;
    throw new SaladError(
      'CONFIGURATION_INVALID',
      `${path}: another gateway uses this inbox; stop it, or set another inbox`,
    );
  }
  return () => database.close();
}
