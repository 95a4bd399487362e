/** Parameters of requests, inputs and outputs. An unknown name is refused: a misspelt window would change the scores. */
import { callerText, SaladError } from '../errors/index.js';
import type { InferParameter } from '../gen/inference/grpc_service.js';
import {
  type AcquisitionHeader,
  type ImageFormat,
  PhotometricInterpretation,
  Priority,
  type ScoringOptions,
  VoiFunction,
} from '../gen/salad/v1/types.js';
import type { Parameters } from './infer-request.js';

/** What the parameters of a request say. */
export interface RequestSettings {
  readonly priority: Priority;
  /** Longest time from now to the answer, in ms; undefined without one. */
  readonly timeoutMs: number | undefined;
  readonly options: Partial<Pick<ScoringOptions, 'maxFalsePositiveRate'>>;
  /** Meaning of the stored values. */
  readonly image: Partial<
    Pick<
      ImageFormat,
      'bitsStored' | 'photometricInterpretation' | 'rescaleSlope' | 'rescaleIntercept' | 'voi'
    >
  >;
  /** Of DICOM files, from 1. */
  readonly frame: number | undefined;
  /** Whether each answer of a stream is marked as the final one of its request. */
  readonly marksFinalResponse: boolean;
}

/** Parameters that say how a request and its answer are transported; nothing here depends on them. */
const IGNORED = /^(triton_.*|content_type|binary_data.*)$/;
/** KServe's client has no parameters that are fractions: it sends them as texts. */
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?$/i;
const FINAL_RESPONSE = 'triton_enable_empty_final_response';

const IMAGE_NAMES = [
  ...['max_false_positive_rate', 'window_center', 'window_width', 'window_function'],
  ...['photometric_interpretation', 'bits_stored', 'rescale_slope', 'rescale_intercept', 'frame'],
];
const COMMON_NAMES = ['priority', 'timeout'];

/** Names that a request may have, by whether its tensors are images or tiles. */
export const PARAMETER_NAMES = {
  image: [...COMMON_NAMES, ...IMAGE_NAMES],
  tiles: COMMON_NAMES,
} as const;

const WINDOW_FUNCTIONS = {
  LINEAR: VoiFunction.VOI_FUNCTION_LINEAR,
  LINEAR_EXACT: VoiFunction.VOI_FUNCTION_LINEAR_EXACT,
  SIGMOID: VoiFunction.VOI_FUNCTION_SIGMOID,
} as const;
const PHOTOMETRICS = {
  MONOCHROME1: PhotometricInterpretation.PHOTOMETRIC_INTERPRETATION_MONOCHROME1,
  MONOCHROME2: PhotometricInterpretation.PHOTOMETRIC_INTERPRETATION_MONOCHROME2,
} as const;

/** @throws SaladError PARAMETER_INVALID */
export function readSettings(parameters: Parameters, kind: keyof typeof PARAMETER_NAMES): RequestSettings {
  refuseUnknown(parameters, PARAMETER_NAMES[kind], 'parameters');
  const read = new ParameterReader(parameters);
  const final = parameters[FINAL_RESPONSE]?.parameterChoice;
  const timeout = read.number('timeout', isTimeout, 'a number of microseconds of at least 0');
  return {
    priority: priorityOf(read.number('priority', isCount, 'a whole number of at least 0')),
    // 0 is the default of clients and means none.
    timeoutMs: timeout === undefined || timeout === 0 ? undefined : timeout / 1000,
    options: present({ maxFalsePositiveRate: read.number('max_false_positive_rate', isRate, 'in (0, 1)') }),
    image: imageSettings(read),
    frame: read.number('frame', isFrame, 'a whole number of at least 1'),
    marksFinalResponse: final?.$case === 'boolParam' && final.value,
  };
}

/** Parameters of an input, or of an output. @throws SaladError PARAMETER_INVALID */
export function refuseUnknown(parameters: Parameters, known: readonly string[], field: string): void {
  for (const name of Object.keys(parameters)) {
    if (known.includes(name) || IGNORED.test(name)) continue;
    throw invalid(`${field}.${callerText(name)}`, unknownText(name, known));
  }
}

function unknownText(name: string, known: readonly string[]): string {
  if (name.startsWith('sequence_')) return 'is not supported: no model keeps a state between requests';
  if (name.startsWith('shared_memory_'))
    return 'is not supported: the server has no shared memory with clients';
  return known.length === 0 ? 'is unknown; there are none here' : `is unknown; known: ${known.join(', ')}`;
}

function imageSettings(read: ParameterReader): RequestSettings['image'] {
  const any = () => true;
  const center = read.number('window_center', any, '');
  const width = read.number('window_width', any, '');
  const shape = read.choice('window_function', WINDOW_FUNCTIONS);
  const [missing] = [
    ...(center === undefined ? ['window_center'] : []),
    ...(width === undefined ? ['window_width'] : []),
  ];
  const hasWindow = center !== undefined || width !== undefined || shape !== undefined;
  if (hasWindow && missing !== undefined) {
    throw invalid(`parameters.${missing}`, 'is missing: a window has a centre and a width');
  }
  const voi =
    center === undefined || width === undefined
      ? undefined
      : {
          transform: {
            $case: 'window' as const,
            value: { center, width, function: shape ?? VoiFunction.VOI_FUNCTION_LINEAR },
          },
        };
  return present({
    bitsStored: read.number('bits_stored', isBits, 'a whole number from 1 to 16'),
    photometricInterpretation: read.choice('photometric_interpretation', PHOTOMETRICS),
    rescaleSlope: read.number('rescale_slope', any, ''),
    rescaleIntercept: read.number('rescale_intercept', any, ''),
    voi,
  });
}

const isCount = (value: number) => Number.isSafeInteger(value) && value >= 0;
const isTimeout = (value: number) => value >= 0;
const isRate = (value: number) => value > 0 && value < 1;
const isBits = (value: number) => Number.isInteger(value) && value >= 1 && value <= 16;
const isFrame = (value: number) => Number.isSafeInteger(value) && value >= 1 && value < 2 ** 32;

/** As Triton counts: 1 is the most urgent, 0 is the default. */
function priorityOf(level: number | undefined): AcquisitionHeader['priority'] {
  if (level === undefined || level === 0) return Priority.PRIORITY_UNSPECIFIED;
  if (level === 1) return Priority.PRIORITY_STAT;
  return level === 2 ? Priority.PRIORITY_ROUTINE : Priority.PRIORITY_BACKGROUND;
}

class ParameterReader {
  constructor(private readonly parameters: Parameters) {}

  number(name: string, isValid: (value: number) => boolean, expected: string): number | undefined {
    const choice = this.find(name);
    if (choice === undefined) return undefined;
    const isNumber =
      choice.$case === 'stringParam' ? NUMBER.test(choice.value) : choice.$case !== 'boolParam';
    if (!isNumber) throw invalid(`parameters.${name}`, 'must be a number');
    const value = Number(choice.value);
    if (!Number.isFinite(value)) throw invalid(`parameters.${name}`, `must be finite, is ${value}`);
    if (!isValid(value)) throw invalid(`parameters.${name}`, `must be ${expected}, is ${value}`);
    return value;
  }

  choice<T>(name: string, values: Readonly<Record<string, T>>): T | undefined {
    const choice = this.find(name);
    if (choice === undefined) return undefined;
    const known = Object.keys(values).find((each) => choice.$case === 'stringParam' && choice.value === each);
    if (known === undefined) {
      throw invalid(`parameters.${name}`, `must be a text, one of ${Object.keys(values).join(', ')}`);
    }
    return values[known];
  }

  private find(name: string): NonNullable<InferParameter['parameterChoice']> | undefined {
    const parameter = Object.hasOwn(this.parameters, name) ? this.parameters[name] : undefined;
    if (parameter === undefined) return undefined;
    if (parameter.parameterChoice === undefined) throw invalid(`parameters.${name}`, 'has no value');
    return parameter.parameterChoice;
  }
}

/** The entries that are not undefined. */
function present<T extends object>(values: T): { [Key in keyof T]?: Exclude<T[Key], undefined> } {
  const entries = Object.entries(values).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [Key in keyof T]?: Exclude<T[Key], undefined> };
}

function invalid(field: string, description: string): SaladError {
  return SaladError.field('PARAMETER_INVALID', field, description);
}
