/** The messages between the program and a decoder process: one request at a time, one reply for each. */
import type { ErrorData } from '../../errors/transfer.js';
import type { PixelFormat } from '../../imaging/pixel-format/pixel-format.js';
import type { DicomDescription, OpenOptions } from '../decode.js';

/** A file that the decoder process reads itself. */
export interface StoredFile {
  readonly path: string;
  /** Its size. */
  readonly bytes: number;
}

export type DecoderRequest =
  /** The payload is the file, where none is named. It is kept until the next one. */
  | {
      readonly type: 'open';
      readonly file?: StoredFile;
      readonly options: OpenOptions;
      readonly growthBytesMax: number;
    }
  /** A frame of the open file, from 0. `inParts`: its samples stay here, for `rows`. */
  | {
      readonly type: 'frame';
      readonly frame: number;
      readonly inParts?: boolean;
      readonly growthBytesMax: number;
    }
  /** Rows of the frame that was decoded last, with `inParts`; `end` is exclusive. */
  | { readonly type: 'rows'; readonly first: number; readonly end: number };

export type DecoderReply =
  /** Sent once, when the process has started. */
  | { readonly type: 'ready' }
  | { readonly type: 'opened'; readonly description: DicomDescription }
  /** The payload is the samples of the frame; empty with `inParts`. */
  | { readonly type: 'frame'; readonly format: PixelFormat; readonly memoryBytes: number }
  /** The payload is the samples of the rows. */
  | { readonly type: 'rows' }
  | { readonly type: 'failed'; readonly error: ErrorData };

/** Signal that ends a process above its memory limit, which cannot reply while a codec runs. */
export const MEMORY_SIGNAL = 'SIGUSR2';
