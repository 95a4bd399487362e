/** Sends encoded requests as fast as a server takes them, and neither decodes nor keeps the answers. */
import { once } from 'node:events';
import { type CallOptions, Client, credentials, Metadata } from '@grpc/grpc-js';
import { INPUT_FORM_KEY, type InputForm } from './input-forms.js';

export interface PortRun {
  readonly images: number;
  /** Time of the run. */
  readonly ms: number;
  /** Of one image, from its first request to the end of its answers. */
  readonly p99Ms: number;
}

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

  /** Runs `streams` images at a time. */
  async run(form: InputForm, streams: number, durationMs: number): Promise<PortRun> {
    const start = performance.now();
    const latenciesMs: number[] = [];
    const stream = async () => {
      for (let now = start; now - start < durationMs; ) {
        const begun = now;
        await this.score(form, () => {});
        now = performance.now();
        latenciesMs.push(now - begun);
      }
    };
    await Promise.all(Array.from({ length: streams }, stream));
    latenciesMs.sort((a, b) => a - b);
    const p99Ms = latenciesMs[Math.floor(0.99 * latenciesMs.length)] ?? Number.NaN;
    return { images: latenciesMs.length, ms: performance.now() - start, p99Ms };
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
