/** Runs in a decoder process: opens files and decodes frames for the process that started it. */
import { readFile } from 'node:fs/promises';
import type { Duplex } from 'node:stream';
import { SaladError } from '../../errors/index.js';
import { toErrorData } from '../../errors/transfer.js';
import { type DicomFrame, DicomImage } from '../decode.js';
import { readMessages, writeMessage } from './framing.js';
import type { DecoderReply, DecoderRequest, StoredFile } from './messages.js';
import { Watchdog } from './watchdog.js';

/** Serves until the channel closes, which happens whenever the parent process ends. */
export function serveDecoder(channel: Duplex): void {
  const watchdog = new Watchdog();
  let image: DicomImage | undefined;
  let kept: DicomFrame | undefined;
  const reply = (header: DecoderReply, payload?: Uint8Array) => writeMessage(channel, header, payload);
  const perform = async (request: DecoderRequest, payload: Uint8Array): Promise<void> => {
    if (request.type === 'rows') {
      reply({ type: 'rows' }, rowsOf(kept, request.first, request.end));
      return;
    }
    kept = undefined;
    watchdog.begin(request.growthBytesMax);
    try {
      if (request.type === 'open') {
        image = undefined;
        const { file, options } = request;
        image = new DicomImage(file === undefined ? payload : await contentOf(file), options);
        reply({ type: 'opened', description: image.description });
        return;
      }
      if (image === undefined) throw new SaladError('INTERNAL', 'no file is open');
      const frame = await image.frame(request.frame);
      if (request.inParts) kept = frame;
      const memoryBytes = process.memoryUsage.rss();
      reply({ type: 'frame', format: frame.format, memoryBytes }, kept ? undefined : frame.samples);
    } catch (error) {
      reply({ type: 'failed', error: toErrorData(SaladError.from(error)) });
    } finally {
      watchdog.end();
    }
  };
  readMessages(channel, (header, payload) => void perform(header as DecoderRequest, payload));
  channel.once('close', () => process.exit());
  reply({ type: 'ready' });
}

/** A view; the answer is written before the next request is read. */
function rowsOf(frame: DicomFrame | undefined, first: number, end: number): Uint8Array | undefined {
  if (frame === undefined) return undefined;
  const { columns, bitsAllocated } = frame.format;
  const rowBytes = (columns * bitsAllocated) / 8;
  return frame.samples.subarray(first * rowBytes, end * rowBytes);
}

async function contentOf({ path, bytes }: StoredFile): Promise<Uint8Array> {
  const content = await readFile(path).catch((error: NodeJS.ErrnoException) => {
    // Without the path, which the error of the operating system holds.
    throw new SaladError('INTERNAL', `the file cannot be read: ${error.code}`, { cause: error });
  });
  if (content.byteLength !== bytes)
    throw new SaladError('IMAGE_UNREADABLE', 'the file changes while it is read');
  return content;
}
