/**
 * Static API keys. A key is 256 random bits, so its plain SHA-256 gives nothing away and needs no slow hash; the file
 * holds the hashes only.
 */
import { createHash, randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { parse } from 'yaml';
import { z } from 'zod';
import { SaladError } from '../errors/index.js';
import { type Identity, SCOPES } from './identity.js';
import type { Digested } from './reloaded.js';

const ENTRY = z.strictObject({
  name: z.string().min(1),
  /** Hexadecimal. */
  sha256: z.string().regex(/^[0-9a-f]{64}$/, 'must be 64 hexadecimal digits'),
  scopes: z.array(z.enum(SCOPES)).min(1),
  /** The first moment at which the key no longer holds. */
  expires: z.iso.datetime().optional(),
});
const FILE = z.strictObject({ keys: z.array(ENTRY) });
type Entry = z.infer<typeof ENTRY>;

export interface ApiKeys extends Digested {
  /** The keys in the file, the expired ones included. */
  readonly count: number;
  /** Names of those that no longer hold. */
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
    const why = error instanceof z.ZodError ? z.prettifyError(error) : String((error as Error).message);
    throw new SaladError('CONFIGURATION_INVALID', `authApiKeysFile ${file}: ${why}`, { cause: error });
  }
  const known = new Map(entries.map((entry) => [entry.sha256, entry]));
  if (known.size < entries.length || new Set(entries.map(({ name }) => name)).size < entries.length) {
    throw new SaladError(
      'CONFIGURATION_INVALID',
      `authApiKeysFile ${file}: a name or a hash stands there twice`,
    );
  }
  return {
    digest: hashOf(text),
    count: entries.length,
    expired: (nowMs) => entries.filter((entry) => isOver(entry, nowMs)).map(({ name }) => name),
    identify(key, nowMs) {
      const entry = known.get(hashOf(key));
      if (entry === undefined || isOver(entry, nowMs)) return undefined;
      return { name: `key ${entry.name}`, scopes: new Set(entry.scopes) };
    },
  };
}

function isOver({ expires }: Entry, nowMs: number): boolean {
  return expires !== undefined && Date.parse(expires) <= nowMs;
}

/** A new key, to be shown once, and the entry of the file that admits it. */
export function makeApiKey(wish: Omit<Entry, 'sha256'>): { readonly key: string; readonly entry: Entry } {
  const key = `salad_${randomBytes(32).toString('base64url')}`;
  return { key, entry: ENTRY.parse({ ...wish, sha256: hashOf(key) }) };
}

function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
