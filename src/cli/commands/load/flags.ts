/** The flags of `salad load`, and their values. */
import { InvalidArgumentError } from 'commander';
import { numberFrom, wholeNumber } from '../../shared/flags.js';
import type { TargetFlags } from '../../shared/target.js';
import type { Slo } from './slo.js';

/** Longest measured time and warm-up, in seconds. */
export const MAX_SECONDS = 86_400;
export const MAX_STREAMS = 100_000;
export const MAX_RATE = 100_000;
/** Most steps of a ramp or a sweep. */
const STEPS_MAX = 1000;

export type PriorityName = 'stat' | 'routine' | 'background';
export type LoadMode = 'rows' | 'tiles' | 'image';

/** One kind of acquisition of a mixed load. */
export interface MixEntry {
  readonly model: string;
  readonly priority: PriorityName;
  readonly mode?: LoadMode;
  readonly weight: number;
}

export interface LoadFlags extends TargetFlags {
  readonly model?: string;
  readonly models?: string;
  readonly engine?: string;
  readonly mode?: LoadMode;
  readonly priority: PriorityName;
  readonly mix?: readonly MixEntry[];
  readonly files?: readonly string[];
  readonly streams?: number;
  readonly rate?: number;
  readonly ramp?: readonly number[];
  readonly sweep?: readonly number[];
  readonly intervalMs: number;
  readonly acquisitionMs: number;
  readonly duration: number;
  readonly warmUp: number;
  readonly window?: number;
  readonly stable?: number;
  readonly size: number;
  readonly connections: number;
  readonly processes: number;
  readonly share?: GeneratorShare;
  readonly alignStart?: number;
  readonly timeoutMs: number;
  readonly seed: number;
  readonly slo?: readonly Slo[];
  readonly csv?: string;
  readonly jsonl?: string;
  readonly out?: string;
  readonly json?: boolean;
}

/** This command is generator `index` of `count`. */
export interface GeneratorShare {
  /** From 0. */
  readonly index: number;
  readonly count: number;
}

/** The rates of `--ramp FROM:TO:STEP`. */
export function parseRamp(text: string): readonly number[] {
  const parts = text.split(':').map(numberFrom(0.001, MAX_RATE));
  const [from, to, step] = parts;
  if (parts.length !== 3 || from === undefined || to === undefined || step === undefined || to < from) {
    throw new InvalidArgumentError('Write FROM:TO:STEP in acquisitions per second, such as 10:50:10.');
  }
  const count = Math.floor((to - from) / step + 1e-9) + 1;
  if (count > STEPS_MAX) throw new InvalidArgumentError(`It must have at most ${STEPS_MAX} steps.`);
  // Without the digits that the arithmetic of floating point adds: 0.1 + 2 * 0.1.
  return Array.from({ length: count }, (_, index) => Number((from + index * step).toPrecision(12)));
}

/** The numbers of streams of `--sweep N,N,...`. */
export function parseSweep(text: string): readonly number[] {
  const counts = text.split(',').map(wholeNumber(1, MAX_STREAMS));
  if (counts.length > STEPS_MAX) throw new InvalidArgumentError(`It must have at most ${STEPS_MAX} steps.`);
  return counts;
}

/** The value of `--share INDEX/COUNT`. */
export function parseShare(text: string): GeneratorShare {
  const [, index, count] = /^(\d{1,6})\/(\d{1,6})$/.exec(text) ?? [];
  const share = { index: Number(index), count: Number(count) };
  if (!(share.index < share.count)) {
    throw new InvalidArgumentError('Write INDEX/COUNT with INDEX from 0, such as 0/4 for the first of four.');
  }
  return share;
}

const PRIORITIES: readonly PriorityName[] = ['stat', 'routine', 'background'];
export const MODES: readonly LoadMode[] = ['rows', 'tiles', 'image'];

/** A value of `--mix MODEL[,priority=CLASS][,mode=MODE][,weight=N]`. */
export function parseMix(text: string, earlier: readonly MixEntry[] = []): readonly MixEntry[] {
  const [model = '', ...settings] = text.split(',');
  const values = new Map(settings.map((setting) => splitOnce(setting)));
  const unknown = [...values.keys()].find((key) => !['priority', 'mode', 'weight'].includes(key));
  if (model === '' || model.includes('=') || unknown !== undefined) {
    throw new InvalidArgumentError('Write MODEL[,priority=CLASS][,mode=MODE][,weight=N].');
  }
  const priority = oneOf(values.get('priority') ?? 'routine', PRIORITIES);
  const mode = values.get('mode');
  return [
    ...earlier,
    {
      model,
      priority,
      ...(mode === undefined ? {} : { mode: oneOf(mode, MODES) }),
      weight: numberFrom(0.001, 1_000_000)(values.get('weight') ?? '1'),
    },
  ];
}

function splitOnce(setting: string): readonly [string, string] {
  const at = setting.indexOf('=');
  return at < 0 ? [setting, ''] : [setting.slice(0, at), setting.slice(at + 1)];
}

function oneOf<T extends string>(text: string, values: readonly T[]): T {
  const value = values.find((each) => each === text);
  if (value === undefined) throw new InvalidArgumentError(`"${text}" must be one of ${values.join(', ')}.`);
  return value;
}
