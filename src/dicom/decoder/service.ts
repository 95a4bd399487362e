/** Runs in a decoder process: opens files and decodes frames for the process that started it. */
import { readFile } from 'node:fs/promises';
import type { Duplex } from 'node:stream';
import { SaladError } from '../../errors/index.js';
import { toErrorData } from '../../errors/transfer.js';
import { DicomImage } from '../decode.js';
import { readMessages, writeMessage } from './framing.js';
import type { DecoderReply, DecoderRequest, StoredFile } from './messages.js';
import { Watchdog } from './watchdog.js';

/** Serves until the channel closes, which happens whenever the parent process ends. */
export function serveDecoder(channel: Duplex): void {
  const watchdog = new Watchdog();
  let image: DicomImage | undefined;
  const reply = (header: DecoderReply, payload?: Uint8Array) => writeMessage(channel, header, payload);
  const perform = async (request: DecoderRequest, payload: Uint8Array): Promise<void> => {
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
      const { format, samples } = await image.frame(request.frame);
      reply({ type: 'frame', format, memoryBytes: process.memoryUsage.rss() }, samples);
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

async function contentOf({ path, bytes }: StoredFile): Promise<Uint8Array> {
  const content = await readFile(path).catch((error: NodeJS.ErrnoException) => {
    // Without the path, which the error of the operating system holds.
    throw new SaladError('INTERNAL', `the file cannot be read: ${error.code}`, { cause: error });
  });
  if (content.byteLength !== bytes)
    throw new SaladError('IMAGE_UNREADABLE', 'the file changes while it is read');
  return content;
}
