/** The number formats an encoder can run in. The format that an engine uses is in EngineModel.precision. */
import { readFileSync } from 'node:fs';
import type { Int8Spec } from './int8-specification.js';

export const PRECISIONS = ['float32', 'bfloat16', 'int8'] as const;
export type Precision = (typeof PRECISIONS)[number];

/** Processor flags of instructions that multiply bfloat16; without them bfloat16 is slower than float32. */
const BFLOAT16_FLAGS = /\b(amx_bf16|avx512_bf16)\b/;
/**
 * Largest error of a golden score in bfloat16, as a share of the spread of all golden scores; the same bound holds for
 * int8 forms. Encoders within it kept their rankings (docs/results/2026-11/engines.md).
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

/** Adds the fields of EngineModelSource that request a precision. */
export function inPrecision<T extends { readonly manifest: { readonly int8?: Int8Spec | undefined } }>(
  bundle: T,
  precision: Precision,
): T & { readonly int8: Int8Spec | undefined; readonly bfloat16: boolean } {
  return {
    ...bundle,
    int8: precision === 'int8' ? bundle.manifest.int8 : undefined,
    bfloat16: precision === 'bfloat16',
  };
}

/** Largest absolute difference to the golden scores that passes the golden check. */
export function goldenToleranceOf(
  precision: Precision,
  { goldenTolerance, int8 }: { readonly goldenTolerance: number; readonly int8?: Int8Spec | undefined },
  goldenScores: Float32Array,
): number {
  if (precision === 'int8' && int8 !== undefined) return int8.goldenTolerance;
  if (precision !== 'bfloat16') return goldenTolerance;
  const spread = goldenScores.reduce(
    ({ low, high }, score) => ({ low: Math.min(low, score), high: Math.max(high, score) }),
    { low: Number.POSITIVE_INFINITY, high: Number.NEGATIVE_INFINITY },
  );
  return Math.max(goldenTolerance, BFLOAT16_ERROR_MAX * (spread.high - spread.low));
}
