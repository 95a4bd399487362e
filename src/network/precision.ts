/** The number formats an encoder can run in. The format that an engine uses is in EngineModel.precision. */
import { readFileSync } from 'node:fs';
import { SaladError } from '../errors/index.js';

export const PRECISIONS = ['float32', 'bfloat16'] as const;
export type Precision = (typeof PRECISIONS)[number];

/** Values that flags and settings accept; `int8`, which older versions had, is then refused with the reason. */
export const REQUESTED_PRECISIONS = [...PRECISIONS, 'int8'] as const;
export type RequestedPrecision = (typeof REQUESTED_PRECISIONS)[number];

export const INT8_REMOVED =
  'int8 was removed, because no model that ships gained from it (docs/decisions/0013-int8-is-removed.md): use float32 or bfloat16';

/** @throws SaladError CONFIGURATION_INVALID for int8 */
export function supportedPrecision(requested: RequestedPrecision): Precision {
  if (requested === 'int8') throw new SaladError('CONFIGURATION_INVALID', `--precision: ${INT8_REMOVED}`);
  return requested;
}

/** Processor flags of instructions that multiply bfloat16; without them bfloat16 is slower than float32. */
const BFLOAT16_FLAGS = /\b(amx_bf16|avx512_bf16)\b/;
/**
 * Largest error of a golden score in bfloat16, as a share of the spread of all golden scores. Encoders within it kept
 * their rankings (docs/results/2026-11/engines.md).
 */
const BFLOAT16_ERROR_MAX = 0.03;

let bfloat16: boolean | undefined;

/** @param cpuinfo content of /proc/cpuinfo */
export function hasBfloat16Flag(cpuinfo: string): boolean {
  return BFLOAT16_FLAGS.test(cpuinfo);
}

/** Whether this processor has instructions that multiply bfloat16. Known only on Linux; false elsewhere. */
export function hasBfloat16(): boolean {
  if (bfloat16 === undefined) {
    try {
      bfloat16 = hasBfloat16Flag(readFileSync('/proc/cpuinfo', 'latin1'));
    } catch {
      bfloat16 = false;
    }
  }
  return bfloat16;
}

/** Adds the field of EngineModelSource that requests a precision. */
export function inPrecision<T extends object>(
  bundle: T,
  precision: Precision,
): T & { readonly bfloat16: boolean } {
  return { ...bundle, bfloat16: precision === 'bfloat16' };
}

/** Largest absolute difference to the golden scores that passes the golden check. */
export function goldenToleranceOf(
  precision: Precision,
  goldenTolerance: number,
  goldenScores: Float32Array,
): number {
  if (precision !== 'bfloat16') return goldenTolerance;
  const spread = goldenScores.reduce(
    ({ low, high }, score) => ({ low: Math.min(low, score), high: Math.max(high, score) }),
    { low: Number.POSITIVE_INFINITY, high: Number.NEGATIVE_INFINITY },
  );
  return Math.max(goldenTolerance, BFLOAT16_ERROR_MAX * (spread.high - spread.low));
}
