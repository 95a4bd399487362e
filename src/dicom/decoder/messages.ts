/** What is said between the server and a decoder process. One request at a time; each has one reply. */
import type { ErrorData } from '../../errors/transfer.js';
import type { PixelFormat } from '../../imaging/pixel-format.js';
import type { DicomDescription, OpenOptions } from '../decode.js';

export type DecoderRequest =
  /** The payload is the file. It is kept until the next one. */
  | { readonly type: 'open'; readonly options: OpenOptions; readonly growthBytesMax: number }
  /** A frame of the open file, from 0. */
  | { readonly type: 'frame'; readonly frame: number; readonly growthBytesMax: number };

export type DecoderReply =
  /** Sent once, unasked. */
  | { readonly type: 'ready' }
  | { readonly type: 'opened'; readonly description: DicomDescription }
  /** The payload are the frame's samples. */
  | { readonly type: 'frame'; readonly format: PixelFormat; readonly memoryBytes: number }
  | { readonly type: 'failed'; readonly error: ErrorData };

/** How a process ends that took more memory than it may: it cannot say it, a codec is running. */
export const MEMORY_SIGNAL = 'SIGUSR2';
