/**
 * Static API keys. The file contains only their hashes. A key is 256 random bits, so a plain SHA-256 reveals nothing
 * about it, and a slow hash is not needed.
 */
import { createHash, randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { parse } from 'yaml';
import { z } from 'zod';
import { SaladError, systemReason } from '../errors/index.js';
import { type Identity, SCOPES } from './identity.js';
import type { Digested } from './reloaded-value.js';

/** Names are written into logs, so a line end or another control character would forge an entry there. */
const NAME = z
  .string()
  .min(1)
  .regex(/^\P{Cc}*$/u, 'must have no control characters');

const ENTRY = z.strictObject({
  name: NAME,
  /** Hash of the key, hexadecimal. */
  sha256: z.string().regex(/^[0-9a-f]{64}$/, 'must be 64 hexadecimal digits'),
  scopes: z.array(z.enum(SCOPES)).min(1),
  /** Time from which on the key is invalid. */
  expires: z.iso.datetime().optional(),
});
const FILE = z.strictObject({ keys: z.array(ENTRY) });
type Entry = z.infer<typeof ENTRY>;

export interface ApiKeys extends Digested {
  /** Number of keys in the file, including expired ones. */
  readonly count: number;
  /** Names of the keys that have expired. */
  expired(nowMs: number): readonly string[];
  /** @returns undefined for a key that is unknown or has expired */
  identify(key: string, nowMs: number): Identity | undefined;
}

/** @throws SaladError CONFIGURATION_INVALID */
export async function readApiKeys(file: string): Promise<ApiKeys> {
  let text: string;
  let entries: readonly Entry[];
  try {
    text = await readFile(file, 'utf8');
    entries = FILE.parse(parse(text)).keys;
  } catch (error) {
    const reason = error instanceof z.ZodError ? z.prettifyError(error) : systemReason(error);
    throw new SaladError('CONFIGURATION_INVALID', `authApiKeysFile ${file}: ${reason}`, { cause: error });
  }
  const entryByHash = new Map(entries.map((entry) => [entry.sha256, entry]));
  if (entryByHash.size < entries.length || new Set(entries.map(({ name }) => name)).size < entries.length) {
    throw new SaladError('CONFIGURATION_INVALID', `authApiKeysFile ${file}: a name or a hash occurs twice`);
  }
  return {
    digest: hashOf(text),
    count: entries.length,
    expired: (nowMs) => entries.filter((entry) => hasExpired(entry, nowMs)).map(({ name }) => name),
    identify(key, nowMs) {
      const entry = entryByHash.get(hashOf(key));
      if (entry === undefined || hasExpired(entry, nowMs)) return undefined;
      return { name: `key ${entry.name}`, scopes: new Set(entry.scopes) };
    },
  };
}

function hasExpired({ expires }: Entry, nowMs: number): boolean {
  return expires !== undefined && Date.parse(expires) <= nowMs;
}

/** The rule of names of new keys, for messages. Names in files of earlier versions may hold spaces, too. */
export const NEW_NAME_RULE = '1 to 64 letters, digits, and . _ - @ after the first';

/** Whether a new key may have this name: it is to be found with one word in logs, metrics and settings. */
export function isNewKeyName(name: string): boolean {
  return /^[\p{L}\p{N}][\p{L}\p{N}._@-]{0,63}$/u.test(name);
}

/** Creates a key, to be shown once, and its entry for the file. */
export function makeApiKey(fields: Omit<Entry, 'sha256'>): { readonly key: string; readonly entry: Entry } {
  const key = `salad_${randomBytes(32).toString('base64url')}`;
  return { key, entry: ENTRY.parse({ ...fields, sha256: hashOf(key) }) };
}

function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
