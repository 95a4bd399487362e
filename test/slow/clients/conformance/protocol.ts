/**
 * What the runner asks of a subject, a program that uses one client: one JSON case a line in, one JSON outcome a line out.
 * A subject ends when its standard input ends. It makes the public call of the client for what a case says, and reports
 * what the client told it; it judges nothing.
 */

/** Requests of the one stream with which tritonclient carries out a case with a `pause`. */
export const STREAMED_REQUESTS = 24;

/** Samples `length` bytes from `offset` on of the case's file. */
export interface Slice {
  readonly offset: number;
  readonly length: number;
}

export type ChunkCase =
  | (Slice & { readonly firstRow: number })
  | { readonly tiles: readonly (Slice & { readonly row: number; readonly column: number })[] };

export interface CaseMessage {
  readonly name: string;
  readonly target: string;
  /** PEM; its absence means plaintext. */
  readonly ca?: string;
  readonly apiKey?: string;
  /** One for each attempt, the last for all after it. */
  readonly tokens?: readonly string[];
  /** @default 30,000 */
  readonly timeoutMs?: number;
  /** @default true */
  readonly retry?: boolean;
  readonly maxReceiveBytes?: number;
  /** `models` and `health` need nothing below. @default 'score' */
  readonly do?: 'score' | 'models' | 'health';
  /** salad.v1.AcquisitionHeader as protobuf's JSON. */
  readonly header?: HeaderJson;
  /** A PNG or JPEG file, for ScoreImage. */
  readonly encoded?: string;
  /** A file of samples, as the wire has them; with `display` float32 display values to cut into tiles. */
  readonly samples?: string;
  readonly display?: boolean;
  /** What to send, message by message; without it, the samples as one image in memory. */
  readonly chunks?: readonly ChunkCase[];
  /** The chunks come from a source that can be read once. */
  readonly once?: boolean;
  /** The source fails with the message `the source failed` after so many chunks. */
  readonly failAfter?: number;
  /** The source gives nothing more after so many chunks, until the acquisition is over. */
  readonly holdAfter?: number;
  /**
   * The caller ends the acquisition, as the language has it: `before` anything is sent, or by leaving the loop over the
   * events at the `first`, or at the `last`, the aggregate.
   */
  readonly leave?: 'before' | 'first' | 'last';
  /**
   * A named pipe. At its first event the caller reads the pipe to its end, and only then the next event: it pauses as long
   * as the runner holds the pipe open. Before it reads on, it scores `also` to its end, with the same client. With the
   * Open Inference Protocol the events are the answers to `STREAMED_REQUESTS` requests of one stream.
   */
  readonly pause?: string;
  /** So many acquisitions at a time; the outcome is the one they all have. */
  readonly parallel?: number;
  /** An acquisition more at the same time, with this header and the same samples. */
  readonly also?: HeaderJson;
}

export interface HeaderJson {
  readonly acquisitionId?: string;
  readonly model: { readonly name: string; readonly version?: number };
  readonly source?: string;
  readonly image?: ImageJson;
  readonly options?: OptionsJson;
  readonly priority?: string;
}

export interface ImageJson {
  readonly rows: number;
  readonly columns: number;
  readonly bitsAllocated: number;
  readonly bitsStored?: number;
  readonly isSigned?: boolean;
  readonly photometricInterpretation?: string;
  readonly rescaleSlope?: number;
  readonly rescaleIntercept?: number;
  readonly voi?: {
    readonly window?: { readonly center: number; readonly width: number; readonly function: string };
    readonly lut?: {
      readonly firstValue: number;
      readonly bitsPerEntry: number;
      readonly entries: readonly number[];
    };
    readonly auto?: { readonly lowPercentile?: number; readonly highPercentile?: number };
  };
}

export interface OptionsJson {
  readonly patchScores?: boolean;
  readonly anomalyMap?: string;
  readonly embeddings?: boolean;
  readonly nearestPrototypes?: number;
  readonly maxFalsePositiveRate?: number;
  readonly earlyEnd?: string;
  readonly topPatches?: number;
}

export interface ResultMessage {
  readonly acquisitionId: string;
  readonly model: string;
  readonly imageScore: number;
  readonly pValue: number;
  /** Without its prefix, such as `NORMAL`; `UNRECOGNIZED` for a number that the client does not know. */
  readonly decision: string;
  /** By patch, row by row: float32 little-endian in base64, NaN where nothing was scored. */
  readonly scores: string;
  readonly robustZ: string;
  readonly scored: number;
  readonly missing: number;
  readonly topPatches: number;
  readonly warnings: readonly string[];
  /** The anomaly map's bytes in base64, '' without one. */
  readonly map: string;
  /** How many embeddings and nearest prototypes came, over all patches. */
  readonly embeddings: number;
  readonly nearest: number;
}

export interface ErrorMessage {
  readonly status: string;
  /** '' where there is none. */
  readonly reason: string;
  readonly fields: readonly string[];
  /** null where there is none. */
  readonly retryAfterMs: number | null;
}

export interface Outcome {
  readonly name: string;
  readonly retries?: number;
  readonly result?: ResultMessage;
  readonly error?: ErrorMessage;
  /** What is no error of the client, such as that of a source: its message. */
  readonly raised?: string;
  readonly left?: boolean;
  /** With `pause`, in the order in which they came: kinds of events, equal neighbours as one; ids of answers. */
  readonly events?: readonly string[];
  /** With `pause`: how many patch scores came. */
  readonly patches?: number;
  /** Of the acquisition more. */
  readonly also?: ResultMessage;
  readonly models?: readonly string[];
  readonly health?: string;
}
