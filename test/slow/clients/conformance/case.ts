/** A case of the conformance suite, and what cases are made of. */
import { createRandom } from '../../../../src/util/random.js';
import { SIDE } from '../../../support/servers/small-server.js';
import type { CaseMessage, ChunkCase, ErrorMessage, ImageJson, Outcome, ResultMessage } from './protocol.js';
import type { SubjectName } from './subjects.js';

/**
 * What is done to the connection or the server. "In the middle" means of the pixels: the image needs 10 MB. `drained`,
 * `draining`, `replaced` and `killed` have a server of their own, which has the settings of `plain`.
 *
 * - `reset`: the connection, once in the middle of an image of 4 KB. `refused`: twice before there is a connection.
 *   `damaged`: a bit of a sample of `image` is changed on its way.
 * - `held`: another client has the only acquisition that the server admits, as long as the case lasts. `released`: until
 *   the server has refused the client under test.
 * - `drained`: in the middle the server begins to drain, with time to finish. `draining`: it drains already, and waits for
 *   an acquisition of another client as long as the case lasts. `replaced`: in the middle it drains without time to finish,
 *   and another server starts on its address.
 * - `killed`: in the middle the process of the server ends, and another one starts on its address.
 * - `unread`: after its first event the client under test pauses. Meanwhile other clients score, and the memory that the
 *   server holds for it is measured.
 */
export type Fault =
  | 'reset'
  | 'damaged'
  | 'refused'
  | 'held'
  | 'released'
  | 'drained'
  | 'draining'
  | 'replaced'
  | 'killed'
  | 'unread';
/**
 * Which server: settings, or what it asks of its callers. `short` takes messages of 64 KiB; `single` admits one
 * acquisition, `quota` one of each caller; `narrow` has a small window for what it receives; `keyless` cannot fetch the keys of
 * tokens.
 */
export type Place =
  | 'plain'
  | 'tls'
  | 'keys'
  | 'tokens'
  | 'keyless'
  | 'impatient'
  | 'short'
  | 'single'
  | 'quota'
  | 'narrow'
  | 'newer';

export interface Case {
  readonly name: string;
  readonly place: Place;
  readonly fault?: Fault;
  readonly ask: Omit<CaseMessage, 'name' | 'target' | 'samples' | 'encoded' | 'pause'>;
  readonly samples?: Uint8Array;
  readonly encoded?: Uint8Array;
  /** Equal to what a client made of the .proto files alone gets for these samples and this header, sent as rows. */
  readonly scores?: {
    readonly of?: CaseMessage['header'];
    readonly samples?: Uint8Array;
    readonly rows?: number;
  };
  readonly result?: Partial<ResultMessage>;
  readonly error?: Partial<ErrorMessage>;
  readonly outcome?: Partial<Outcome>;
  /**
   * The Open Inference Protocol can express the case, too: tritonclient gets it, and is expected to do the same, but for
   * what is said here.
   */
  readonly openInference?: Partial<Pick<Case, 'result' | 'error' | 'outcome'>>;
  /** Retries: so many, or at least one. */
  readonly retries?: number | 'some';
  /** It lasts at least so long, because the client waits as the server asked. */
  readonly waitsMs?: number;
  /** Subjects with a known failure here, and the reason. A listed subject that passes fails the test. */
  readonly knownFailures?: Partial<Record<SubjectName, string>>;
}

/** Stored values 0 to 2^bits - 1 by seed. */
function values(seed: number, count: number, bits: number): number[] {
  const random = createRandom(seed);
  return Array.from({ length: count }, () => Math.floor(random() * 2 ** bits));
}

export const eight = (seed: number, count = SIDE * SIDE) => Uint8Array.from(values(seed, count, 8));
export const sixteen = (seed: number, count = SIDE * SIDE, bits = 12) =>
  new Uint8Array(Uint16Array.from(values(seed, count, bits)).buffer);
/** 12-bit values in blocks of 50 by 40: noise alone would be grey after the resampling, and not be scored. */
export function blocks(seed: number, rows: number, columns: number): Uint8Array {
  const across = Math.ceil(columns / 40);
  const levels = values(seed, Math.ceil(rows / 50) * across, 11);
  const grain = values(seed + 1, 997, 10);
  const samples = new Uint16Array(rows * columns);
  for (let i = 0; i < samples.length; i++) {
    const [row, column] = [Math.floor(i / columns), i % columns];
    samples[i] = levels[Math.floor(row / 50) * across + Math.floor(column / 40)]! + grain[i % 997]!;
  }
  return new Uint8Array(samples.buffer);
}

export const signed = (seed: number, count = SIDE * SIDE) =>
  new Uint8Array(Int16Array.from(values(seed, count, 12).map((value) => value - 2048)).buffer);
export const display = (bytes: Uint8Array) => new Uint8Array(Float32Array.from(bytes).buffer);

export const header = (image: Partial<ImageJson> = {}, more: Partial<CaseMessage['header']> = {}) => ({
  acquisitionId: 'conformance',
  model: { name: 'small' },
  image: { rows: SIDE, columns: SIDE, bitsAllocated: 8, ...image },
  ...more,
});
export const window = (name: string, center: number, width: number) => ({
  window: { center, width, function: `VOI_FUNCTION_${name}` },
});

/** Whole rows, so many in a message; the last has the rest. */
export function rowChunks(rowsPerMessage: number, rows = SIDE, rowBytes = SIDE): ChunkCase[] {
  const chunks: ChunkCase[] = [];
  for (let firstRow = 0; firstRow < rows; firstRow += rowsPerMessage) {
    const count = Math.min(rowsPerMessage, rows - firstRow);
    chunks.push({ firstRow, offset: firstRow * rowBytes, length: count * rowBytes });
  }
  return chunks;
}

/** An image of 10 MB in 50 messages: faults in its middle find a client that sends. */
const LARGE = { rows: 2500, columns: 2000, bitsAllocated: 16, bitsStored: 12 };
export const large = {
  place: 'plain',
  samples: blocks(9, LARGE.rows, LARGE.columns),
  ask: { header: header(LARGE), chunks: rowChunks(50, LARGE.rows, 2 * LARGE.columns), timeoutMs: 60_000 },
} as const;
/** An image whose map has 1 MiB: more than a client takes before it is read. */
const WIDE = { rows: 512, columns: 512 };
export const wide = {
  samples: Uint8Array.from(
    new Uint16Array(blocks(12, WIDE.rows, WIDE.columns).buffer),
    (value) => value >> 4,
  ),
  chunks: rowChunks(64, WIDE.rows, WIDE.columns),
  image: WIDE,
} as const;
export const image = eight(3);
export const chunks = rowChunks(8);
export const plain = { place: 'plain', samples: image } as const;
