import { once } from 'node:events';
import {
  type ChannelCredentials,
  type ClientDuplexStream,
  type ClientReadableStream,
  credentials,
  Metadata,
  type ServiceError,
} from '@grpc/grpc-js';
import { crc32c } from '@node-rs/crc32';
import {
  AnomalyScoringClient,
  type ScoreImageRequest,
  type StreamAcquisitionRequest,
} from '../../../src/gen/salad/v1/anomaly_scoring.js';
import { type Model, ModelRegistryClient } from '../../../src/gen/salad/v1/model_registry.js';
import {
  type AcquisitionAccepted,
  type AcquisitionAggregate,
  AcquisitionHeader,
  type PatchScore,
  type PixelRows,
  type PixelTile,
} from '../../../src/gen/salad/v1/types.js';
import { SaladClientError } from './errors.js';

export interface SaladClientOptions {
  /** @default insecure: plaintext, for loopback and for meshes that encrypt. */
  readonly credentials?: ChannelCredentials;
  /** Sent with every call, such as `authorization`. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** Largest message taken from the server, in bytes (anomaly maps). @default 64 MiB */
  readonly maxReceiveBytes?: number;
}

export interface CallOptions {
  /** Cancels the call; it then throws with status CANCELLED. */
  readonly signal?: AbortSignal;
  /** Milliseconds until the call fails with DEADLINE_EXCEEDED. @default none */
  readonly timeoutMs?: number;
}

/** What an acquisition tells, in this order: accepted once, patches many times, aggregate once. */
export type AcquisitionEvent =
  | { readonly type: 'accepted'; readonly accepted: AcquisitionAccepted }
  | { readonly type: 'patches'; readonly patches: readonly PatchScore[] }
  | { readonly type: 'aggregate'; readonly aggregate: AcquisitionAggregate };

/** Pixels to send: whole rows, or tiles at working resolution. */
export type PixelChunk =
  | { readonly type: 'rows'; readonly rows: PixelRows }
  | { readonly type: 'tiles'; readonly tiles: readonly PixelTile[] };

/**
 * The pixels of one acquisition. A function is called once the server has accepted, with the geometry a
 * client in tile mode needs to cut.
 */
export type PixelSource =
  | AsyncIterable<PixelChunk>
  | ((accepted: AcquisitionAccepted) => AsyncIterable<PixelChunk>);

type HeaderInit = Parameters<typeof AcquisitionHeader.fromPartial>[0];

/** One connection to a salad-serve server. Safe to share; close it when done. */
export class SaladClient {
  readonly #scoring: AnomalyScoringClient;
  readonly #registry: ModelRegistryClient;
  readonly #metadata: Readonly<Record<string, string>>;

  /** @param target such as `localhost:50051` or any gRPC name (`dns:///salad-headless:50051`). */
  constructor(target: string, options: SaladClientOptions = {}) {
    const channel = options.credentials ?? credentials.createInsecure();
    const channelOptions = { 'grpc.max_receive_message_length': options.maxReceiveBytes ?? 64 * 1024 * 1024 };
    this.#scoring = new AnomalyScoringClient(target, channel, channelOptions);
    this.#registry = new ModelRegistryClient(target, channel, channelOptions);
    this.#metadata = options.metadata ?? {};
  }

  close(): void {
    this.#scoring.close();
    this.#registry.close();
  }

  /**
   * Streams one acquisition and yields what the server says while it is still being sent.
   * Leaving the loop early cancels the acquisition.
   * @throws SaladClientError
   */
  async *streamAcquisition(
    header: HeaderInit,
    source: PixelSource,
    options: CallOptions = {},
  ): AsyncGenerator<AcquisitionEvent, void, undefined> {
    const call = this.#scoring.streamAcquisition(this.#callMetadata(), deadlineOf(options));
    let sending: Promise<void> | undefined;
    let sendError: unknown;
    const start = (pixels: AsyncIterable<PixelChunk>) => {
      sending = sendPixels(call, pixels).catch((error: unknown) => {
        sendError = error;
        call.cancel();
      });
    };
    const cleanup = cancelOn(call, options.signal);
    try {
      call.write({ payload: { $case: 'header', value: AcquisitionHeader.fromPartial(header) } });
      if (typeof source !== 'function') start(source);
      for await (const event of events(call)) {
        if (event.type === 'accepted' && typeof source === 'function') start(source(event.accepted));
        yield event;
      }
    } catch (error) {
      throw clientError(sendError ?? error);
    } finally {
      cleanup();
      call.cancel();
      await sending;
    }
  }

  /** Streams one acquisition to its end and returns the aggregate. @throws SaladClientError */
  async scoreAcquisition(
    header: HeaderInit,
    source: PixelSource,
    options: CallOptions & { readonly onEvent?: (event: AcquisitionEvent) => void } = {},
  ): Promise<AcquisitionAggregate> {
    return aggregateOf(this.streamAcquisition(header, source, options), options.onEvent);
  }

  /** Scores one whole image: an encoded file, or raw samples that the header describes. @throws SaladClientError */
  async scoreImage(
    header: HeaderInit,
    image: { readonly encoded: Uint8Array } | { readonly raw: Uint8Array },
    options: CallOptions & { readonly onEvent?: (event: AcquisitionEvent) => void } = {},
  ): Promise<AcquisitionAggregate> {
    return aggregateOf(this.streamImage(header, image, options), options.onEvent);
  }

  /** As `scoreImage`, yielding every event. */
  async *streamImage(
    header: HeaderInit,
    image: { readonly encoded: Uint8Array } | { readonly raw: Uint8Array },
    options: CallOptions = {},
  ): AsyncGenerator<AcquisitionEvent, void, undefined> {
    const request: ScoreImageRequest = {
      header: AcquisitionHeader.fromPartial(header),
      image:
        'encoded' in image ? { $case: 'encoded', value: image.encoded } : { $case: 'raw', value: image.raw },
    };
    const call = this.#scoring.scoreImage(request, this.#callMetadata(), deadlineOf(options));
    const cleanup = cancelOn(call, options.signal);
    try {
      yield* events(call);
    } catch (error) {
      throw clientError(error);
    } finally {
      cleanup();
      call.cancel();
    }
  }

  /** The loaded models, by name, then version. @throws SaladClientError */
  async listModels(options: CallOptions = {}): Promise<readonly Model[]> {
    return new Promise((resolve, reject) => {
      const call = this.#registry.list({}, this.#callMetadata(), deadlineOf(options), (error, response) => {
        cleanup();
        if (error) reject(new SaladClientError(error));
        else resolve(response.models);
      });
      const cleanup = cancelOn(call, options.signal);
    });
  }

  /** One loaded model; the highest version where none is named. @throws SaladClientError NOT_FOUND */
  async getModel(name: string, version?: number, options: CallOptions = {}): Promise<Model> {
    return new Promise((resolve, reject) => {
      const request = { model: { name, version } };
      const call = this.#registry.get(
        request,
        this.#callMetadata(),
        deadlineOf(options),
        (error, response) => {
          cleanup();
          if (error) reject(new SaladClientError(error));
          else if (response.model) resolve(response.model);
          else reject(new Error('the server answered without a model'));
        },
      );
      const cleanup = cancelOn(call, options.signal);
    });
  }

  #callMetadata(): Metadata {
    const metadata = new Metadata();
    for (const [key, value] of Object.entries(this.#metadata)) metadata.set(key, value);
    return metadata;
  }
}

function deadlineOf(options: CallOptions): { deadline?: number } {
  return options.timeoutMs === undefined ? {} : { deadline: Date.now() + options.timeoutMs };
}

function cancelOn(call: { cancel(): void }, signal: AbortSignal | undefined): () => void {
  if (!signal) return () => {};
  const abort = () => call.cancel();
  if (signal.aborted) abort();
  else signal.addEventListener('abort', abort, { once: true });
  return () => signal.removeEventListener('abort', abort);
}

function clientError(error: unknown): unknown {
  return error instanceof Error && 'code' in error && 'details' in error
    ? new SaladClientError(error as ServiceError)
    : error;
}

/**
 * Sends the chunks, waiting for `drain` where the connection is behind, then `end` with the checksum.
 * Stops as soon as the call is over, even while the source has nothing to give.
 */
async function sendPixels(
  call: ClientDuplexStream<StreamAcquisitionRequest, unknown>,
  pixels: AsyncIterable<PixelChunk>,
): Promise<void> {
  const over = new Promise<undefined>((resolve) => {
    for (const event of ['close', 'error', 'end', 'status']) call.once(event, () => resolve(undefined));
  });
  const iterator = pixels[Symbol.asyncIterator]();
  let checksum = 0;
  for (;;) {
    const next = await Promise.race([iterator.next(), over]);
    if (!next || call.destroyed) {
      void iterator.return?.();
      return;
    }
    if (next.done) break;
    const chunk = next.value;
    checksum = checksumOf(chunk, checksum);
    const message: StreamAcquisitionRequest =
      chunk.type === 'rows'
        ? { payload: { $case: 'rows', value: chunk.rows } }
        : { payload: { $case: 'tiles', value: { tiles: [...chunk.tiles] } } };
    if (!call.write(message)) await Promise.race([once(call, 'drain'), over]);
  }
  call.write({ payload: { $case: 'end', value: { crc32c: checksum } } });
  call.end();
}

/** CRC-32C of all sample bytes so far, in the order sent. */
function checksumOf(chunk: PixelChunk, checksum: number): number {
  if (chunk.type === 'rows') return crc32c(chunk.rows.samples, checksum);
  return chunk.tiles.reduce((sum, tile) => crc32c(tile.samples, sum), checksum);
}

type Response = { payload: EventPayload | undefined };
type EventPayload =
  | { $case: 'accepted'; value: AcquisitionAccepted }
  | { $case: 'patchScores'; value: { patches: PatchScore[] } }
  | { $case: 'aggregate'; value: AcquisitionAggregate };

async function* events(
  call: ClientReadableStream<Response> | ClientDuplexStream<StreamAcquisitionRequest, Response>,
): AsyncGenerator<AcquisitionEvent, void, undefined> {
  for await (const response of call as AsyncIterable<Response>) {
    const payload = response.payload;
    if (payload?.$case === 'accepted') yield { type: 'accepted', accepted: payload.value };
    else if (payload?.$case === 'patchScores') yield { type: 'patches', patches: payload.value.patches };
    else if (payload?.$case === 'aggregate') yield { type: 'aggregate', aggregate: payload.value };
  }
}

async function aggregateOf(
  stream: AsyncIterable<AcquisitionEvent>,
  onEvent: ((event: AcquisitionEvent) => void) | undefined,
): Promise<AcquisitionAggregate> {
  let aggregate: AcquisitionAggregate | undefined;
  for await (const event of stream) {
    onEvent?.(event);
    if (event.type === 'aggregate') aggregate = event.aggregate;
  }
  if (!aggregate) throw new Error('the server ended the acquisition without an aggregate');
  return aggregate;
}
