/** Sends encoded requests as fast as a server takes them, and neither decodes nor keeps the answers. */
import { once } from 'node:events';
import { type CallOptions, Client, credentials, Metadata } from '@grpc/grpc-js';
import { INPUT_FORM_KEY, type InputForm } from './input-forms.js';

const sameBytes = (bytes: Buffer): Buffer => bytes;

export class PortClient {
  private readonly client: Client;

  constructor(address: string) {
    this.client = new Client(address, credentials.createInsecure(), {
      'grpc.max_receive_message_length': -1,
      // A connection of its own.
      'grpc.use_local_subchannel_pool': 1,
    });
  }

  /** @returns the encoded answers @throws ServiceError */
  async answersOf(form: InputForm): Promise<readonly Buffer[]> {
    const answers: Buffer[] = [];
    await this.score(form, (answer) => answers.push(answer));
    return answers;
  }

  /** Runs `streams` images at a time. @returns images that ended within the time, and their time in ms */
  async run(form: InputForm, streams: number, durationMs: number): Promise<{ images: number; ms: number }> {
    const start = performance.now();
    let images = 0;
    const stream = async () => {
      while (performance.now() - start < durationMs) {
        await this.score(form, () => {});
        images += 1;
      }
    };
    await Promise.all(Array.from({ length: streams }, stream));
    return { images, ms: performance.now() - start };
  }

  close(): void {
    this.client.close();
  }

  private async score(form: InputForm, onAnswer: (answer: Buffer) => void): Promise<void> {
    const path = `/salad.v1.AnomalyScoring/${form.method}`;
    const metadata = new Metadata();
    metadata.set(INPUT_FORM_KEY, form.name);
    const options: CallOptions = {};
    const [first] = form.requests;
    if (first === undefined) throw new Error(`input form ${form.name} has no request`);
    if (form.method === 'ScoreImage') {
      const call = this.client.makeServerStreamRequest(path, sameBytes, sameBytes, first, metadata, options);
      call.on('data', onAnswer);
      await once(call, 'end');
      return;
    }
    const call = this.client.makeBidiStreamRequest(path, sameBytes, sameBytes, metadata, options);
    call.on('data', onAnswer);
    for (const request of form.requests) call.write(request);
    call.end();
    await once(call, 'end');
  }
}
