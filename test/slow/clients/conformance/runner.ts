/** Drives every client through the cases and compares what they report. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { Credentials } from '../../../support/network/secured.js';
import type { Case } from './case.js';
import { CASES, concerns } from './cases.js';
import type { Target } from './faults.js';
import type { LineProgram } from './line-program.js';
import { Places } from './places.js';
import type { CaseMessage, Outcome, ResultMessage } from './protocol.js';
import { reference } from './reference.js';
import { SUBJECTS, type SubjectName, startSubject } from './subjects.js';

export interface Verdict {
  readonly subject: SubjectName;
  readonly case: string;
  /** Empty: it did as it should. */
  readonly faults: readonly string[];
  /** Why it is known to fail; such a case with no fault is a fault of the list. */
  readonly knownFailure?: string;
  readonly ms: number;
}

/** Relative difference of an image score, which is a double on the wire. */
const IMAGE_SCORE_ERROR_MAX = 1e-6;

/** @param subjects @default all */
export async function runConformance(subjects: readonly SubjectName[] = SUBJECTS): Promise<Verdict[]> {
  const folder = mkdtempSync(join(tmpdir(), 'salad-conformance-'));
  const places = await Places.open(folder);
  const running = new Map<SubjectName, LineProgram>();
  try {
    for (const name of subjects) running.set(name, await startSubject(name, folder));
    const verdicts: Verdict[] = [];
    for (const one of CASES) {
      const scores = await scoresOf(one, await places.address());
      for (const [name, subject] of running) {
        if (!concerns(one, name)) continue;
        const own = name === 'tritonclient' ? { ...one, ...one.openInference } : one;
        const expected = { ...scores, result: { ...scores.result, ...own.result } };
        verdicts.push(await judge(own, name, subject, places, folder, expected));
      }
    }
    return verdicts;
  } finally {
    for (const subject of running.values()) await subject.close();
    await places.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** What a result must have: of the acquisition, and of the one at the same time. */
interface Expected {
  readonly result: Partial<ResultMessage>;
  readonly also?: Partial<ResultMessage>;
}

async function scoresOf(one: Case, address: string): Promise<Expected> {
  const header = one.scores?.of ?? one.ask.header;
  const samples = one.scores?.samples ?? one.samples;
  if (one.scores === undefined || header === undefined || samples === undefined) return { result: {} };
  const result = await reference(address, header, samples, one.scores.rows);
  // Scores that are all NaN would be equal whatever was sent.
  if (result.scored === 0 && result.decision !== 'INDETERMINATE') {
    throw new Error(`${one.name}: nothing is scored`);
  }
  if (one.ask.also === undefined) return { result };
  const also = await reference(address, one.ask.also, samples);
  if (also.scores === result.scores) throw new Error(`${one.name}: both acquisitions have the same scores`);
  return { result, also };
}

async function judge(
  one: Case,
  name: SubjectName,
  subject: LineProgram,
  places: Places,
  folder: string,
  expected: Expected,
): Promise<Verdict> {
  const target = await places.target(one.place, one.fault);
  const startMs = performance.now();
  const faults: string[] = [];
  try {
    const outcome = await subject.ask(messageOf(one, target, folder));
    const waitedMs = performance.now() - startMs;
    faults.push(...faultsOf(one, outcome as Outcome, expected));
    if (waitedMs < (one.waitsMs ?? 0)) faults.push(`lasted ${waitedMs} ms, expected ${one.waitsMs}`);
    await target.idle();
  } catch (error) {
    faults.push((error as Error).message);
  } finally {
    await target.close();
  }
  const knownFailure = one.knownFailures?.[name];
  const ms = performance.now() - startMs;
  return {
    subject: name,
    case: one.name,
    faults,
    ms,
    ...(knownFailure === undefined ? {} : { knownFailure }),
  };
}

/** Names of credentials in a case become those of the server. */
function messageOf(one: Case, { address, credentials, pause }: Target, folder: string): CaseMessage {
  const write = (bytes: Uint8Array | undefined, file: string) => {
    if (bytes === undefined) return undefined;
    writeFileSync(join(folder, file), bytes);
    return join(folder, file);
  };
  const { apiKey, tokens } = one.ask;
  return {
    ...one.ask,
    name: one.name,
    target: address,
    ...(pause === undefined ? {} : { pause }),
    ...(one.place === 'tls' ? { ca: credentials.ca } : {}),
    ...(apiKey === undefined ? {} : { apiKey: credentials[apiKey as keyof Credentials] ?? apiKey }),
    ...(tokens === undefined
      ? {}
      : { tokens: tokens.map((token) => credentials[token as keyof Credentials] ?? token) }),
    samples: write(one.samples, 'samples'),
    encoded: write(one.encoded, 'image.png'),
  } as CaseMessage;
}

function faultsOf(one: Case, outcome: Outcome, expected: Expected): string[] {
  const faults: string[] = [];
  const { result = {}, error = {} } = outcome as { result?: object; error?: object };
  if ((one.scores ?? one.result) !== undefined) faults.push(...differences('', expected.result, result));
  if (expected.also !== undefined) faults.push(...differences('also ', expected.also, outcome.also ?? {}));
  if (one.error !== undefined) faults.push(...differences('error ', one.error, error));
  if (one.outcome !== undefined) faults.push(...differences('', one.outcome, outcome));
  const { retries = 0 } = outcome;
  if (one.retries === 'some' ? retries < 1 : retries !== (one.retries ?? 0))
    faults.push(`retries: ${retries}`);
  // What came instead.
  const said = outcome.raised ?? (outcome.error && JSON.stringify(outcome.error));
  return faults.length > 0 && said !== undefined ? [...faults, said] : faults;
}

function differences(prefix: string, expected: object, actual: object): string[] {
  const at = (record: object, key: string) => (record as Record<string, unknown>)[key];
  return Object.keys(expected)
    .filter((key) => !isSame(key, at(expected, key), at(actual, key)))
    .map((key) => `${prefix}${key}: ${short(at(actual, key))}, expected ${short(at(expected, key))}`);
}

function isSame(key: string, expected: unknown, actual: unknown): boolean {
  // NaN is null in JSON.
  if (Number.isNaN(expected)) return actual === null;
  if (key !== 'imageScore') return isDeepStrictEqual(actual, expected);
  return Math.abs(Number(actual) - Number(expected)) <= IMAGE_SCORE_ERROR_MAX * Math.abs(Number(expected));
}

function short(value: unknown): string {
  return (JSON.stringify(value) ?? 'nothing').slice(0, 80);
}

/** Neither a fault that is not known, nor a known one that is gone. */
export function isPassed({ faults, knownFailure }: Verdict): boolean {
  return faults.length > 0 === (knownFailure !== undefined);
}
