/** The client: scores acquisitions, lists models, reads the health of a server. */
import {
  type ChannelCredentials,
  type ChannelOptions,
  Metadata,
  type ServiceError,
  status,
} from '@grpc/grpc-js';
import { AnomalyScoringClient, type ScoreImageRequest } from '../../../src/gen/salad/v1/anomaly_scoring.js';
import { type Model, ModelRegistryClient } from '../../../src/gen/salad/v1/model_registry.js';
import { type AcquisitionAggregate, AcquisitionHeader } from '../../../src/gen/salad/v1/types.js';
import { type CallOptions, cancelOnAbort, clientError, deadlineOf } from './call-options.js';
import {
  channelCredentials,
  type IdentityOptions,
  identityMetadata,
  type TlsOptions,
} from './credentials.js';
import { SaladClientError } from './errors.js';
import type { AcquisitionHeaderInput } from './header.js';
import { HealthClient, type HealthState } from './health.js';
import { type KeepaliveOptions, keepaliveChannelOptions, pingAfterGoaway } from './keepalive.js';
import { type ModelVersion, RegistryCalls } from './registry-calls.js';
import { type RetryNotice, type RetryOptions, withRetry } from './retry.js';
import { isReplayable, type PixelChunk, type PixelSource } from './source.js';
import { type AcquisitionEvent, events, sendPixels } from './streaming.js';

export interface SaladClientOptions extends IdentityOptions {
  /** TLS; `true` trusts the authorities of the system. @default plaintext, for loopback and for meshes that encrypt */
  readonly tls?: TlsOptions | true;
  /** Replaces `tls`, for cases that `tls` does not cover. */
  readonly credentials?: ChannelCredentials;
  /** Metadata of every call. A function is called for every call, such as for a trace context. */
  readonly metadata?: Readonly<Record<string, string>> | (() => Readonly<Record<string, string>>);
  /** Largest message that the client accepts, in bytes; anomaly maps can be large. @default 64 MiB */
  readonly maxReceiveBytes?: number;
  /**
   * How acquisitions are distributed over the addresses of the target: in turn over all reachable ones, or all to the
   * first reachable one.
   * @default 'roundRobin'
   */
  readonly balancing?: 'roundRobin' | 'pickFirst';
  /** How `scoreAcquisition` and `scoreImage` retry; a call can override it. @default retries on */
  readonly retry?: RetryOptions | false;
  /** Pings that detect a lost connection while calls run. @default every 30 s, with 10 s for the answer */
  readonly keepalive?: KeepaliveOptions;
}

export interface ScoreOptions extends CallOptions {
  /** Called for every event, in the order of arrival. */
  readonly onEvent?: (event: AcquisitionEvent) => void;
  /** @default the option of the client */
  readonly retry?: RetryOptions | false;
  /** Called before every retry. The earlier events belong to the failed attempt: discard them. */
  readonly onRetry?: (notice: RetryNotice) => void;
}

/** A whole image: an encoded file, or raw samples that the header describes. */
export type ImageData =
  /** PNG, JPEG or DICOM; of a DICOM file of several frames one, counted from 1. */
  { readonly encoded: Uint8Array; readonly frame?: number } | { readonly raw: Uint8Array };

const CHANNEL_OPTIONS: ChannelOptions = {
  // The default of grpc-js is up to two minutes; a client should reconnect soon after its server restarted.
  'grpc.initial_reconnect_backoff_ms': 200,
  'grpc.max_reconnect_backoff_ms': 2000,
  // Without this, all clients of a process share one connection.
  'grpc.use_local_subchannel_pool': 1,
};

const SERVICE_CONFIG = {
  roundRobin: { loadBalancingConfig: [{ round_robin: {} }] },
  pickFirst: { loadBalancingConfig: [{ pick_first: {} }] },
} as const;

/** Has one connection to each address of a target. Calls may run concurrently. Call `close` at the end. */
export class SaladClient {
  readonly #scoring: AnomalyScoringClient;
  readonly #registry: RegistryCalls;
  readonly #health: InstanceType<typeof HealthClient>;
  readonly #metadata: () => Readonly<Record<string, string>>;
  readonly #retry: RetryOptions | false;

  /**
   * @param target such as `localhost:50051` or any gRPC name: `dns:///salad-headless:50051`, or several addresses as
   *   `ipv4:10.0.0.1:50051,10.0.0.2:50051`.
   */
  constructor(target: string, options: SaladClientOptions = {}) {
    const channel = options.credentials ?? channelCredentials(options.tls);
    const channelOptions = {
      ...CHANNEL_OPTIONS,
      ...keepaliveChannelOptions(options.keepalive),
      'grpc.max_receive_message_length': options.maxReceiveBytes ?? 64 * 1024 * 1024,
      'grpc.service_config': JSON.stringify(SERVICE_CONFIG[options.balancing ?? 'roundRobin']),
    };
    this.#scoring = new AnomalyScoringClient(target, channel, channelOptions);
    pingAfterGoaway(this.#scoring.getChannel());
    const shared = { ...channelOptions, channelOverride: this.#scoring.getChannel() };
    const registry = new ModelRegistryClient(target, channel, shared);
    this.#registry = new RegistryCalls(registry, () => this.#callMetadata());
    this.#health = new HealthClient(target, channel, shared);
    const { metadata } = options;
    this.#metadata = () => ({
      ...identityMetadata(options),
      ...(typeof metadata === 'function' ? metadata() : metadata),
    });
    this.#retry = options.retry ?? {};
  }

  close(): void {
    this.#scoring.close();
  }

  /**
   * Streams one acquisition and yields the answers of the server while pixels are still being sent. It makes only one
   * attempt, because yielded events cannot be undone. Leaving the loop early cancels the acquisition.
   * @throws SaladClientError if the call fails; errors of the source unchanged
   */
  async *streamAcquisition(
    header: AcquisitionHeaderInput,
    source: PixelSource,
    options: CallOptions = {},
  ): AsyncGenerator<AcquisitionEvent, void, undefined> {
    const call = this.#scoring.streamAcquisition(this.#callMetadata(), deadlineOf(options));
    let sending: Promise<void> | undefined;
    let sendError: unknown;
    const startSending = (pixels: AsyncIterable<PixelChunk> | readonly PixelChunk[]) => {
      sending = sendPixels(call, pixels).catch((error: unknown) => {
        sendError = error;
        call.cancel();
      });
    };
    const removeListener = cancelOnAbort(call, options.signal);
    try {
      call.write({ payload: { $case: 'header', value: AcquisitionHeader.fromPartial(header) } });
      if (typeof source !== 'function') startSending(source);
      for await (const event of events(call)) {
        if (event.type === 'accepted' && typeof source === 'function') startSending(source(event.accepted));
        yield event;
      }
    } catch (error) {
      throw clientError(sendError ?? error);
    } finally {
      removeListener();
      call.cancel();
      await sending;
    }
  }

  /**
   * Streams one acquisition and returns its aggregate. If the source is replayable, it retries after a lost connection,
   * a server restart and a refusal with a retry delay.
   * @throws SaladClientError of the last attempt; errors of the source or of `onEvent` unchanged
   */
  async scoreAcquisition(
    header: AcquisitionHeaderInput,
    source: PixelSource,
    options: ScoreOptions = {},
  ): Promise<AcquisitionAggregate> {
    return this.#score((call) => this.streamAcquisition(header, source, call), isReplayable(source), options);
  }

  /** Scores one whole image, with retries like `scoreAcquisition`. @throws SaladClientError of the last attempt */
  async scoreImage(
    header: AcquisitionHeaderInput,
    image: ImageData,
    options: ScoreOptions = {},
  ): Promise<AcquisitionAggregate> {
    return this.#score((call) => this.streamImage(header, image, call), true, options);
  }

  /** Scores one whole image and yields every event; makes only one attempt. @throws SaladClientError */
  async *streamImage(
    header: AcquisitionHeaderInput,
    image: ImageData,
    options: CallOptions = {},
  ): AsyncGenerator<AcquisitionEvent, void, undefined> {
    const request: ScoreImageRequest = {
      header: AcquisitionHeader.fromPartial(header),
      image:
        'encoded' in image ? { $case: 'encoded', value: image.encoded } : { $case: 'raw', value: image.raw },
      frame: 'encoded' in image ? image.frame : undefined,
    };
    const call = this.#scoring.scoreImage(request, this.#callMetadata(), deadlineOf(options));
    const removeListener = cancelOnAbort(call, options.signal);
    try {
      yield* events(call);
    } catch (error) {
      throw clientError(error);
    } finally {
      removeListener();
      call.cancel();
    }
  }

  /** Lists the loaded models, sorted by name and version. @throws SaladClientError */
  async listModels(options: CallOptions = {}): Promise<readonly Model[]> {
    return this.#registry.list(options);
  }

  /** Returns one loaded model. @param version default: the highest @throws SaladClientError, such as NOT_FOUND */
  async getModel(name: string, version?: number, options: CallOptions = {}): Promise<Model> {
    return this.#registry.get(name, version, options);
  }

  /** All versions with their states, also those that were refused, sorted by name and version. @throws SaladClientError */
  async modelVersions(options: CallOptions = {}): Promise<readonly ModelVersion[]> {
    return this.#registry.versions(options);
  }

  /**
   * Loads a version from the models folders of the server; it serves when the promise resolves. Needs the scope `admin`.
   * @param version default: the highest in the folders
   * @throws SaladClientError: NOT_FOUND, or FAILED_PRECONDITION with the reason why it cannot be served
   */
  async loadModel(name: string, version?: number, options: CallOptions = {}): Promise<Model> {
    return this.#registry.load(name, version, options);
  }

  /**
   * New acquisitions do not get the version from now on; it is unloaded after the last that has begun. Needs the scope
   * `admin`.
   * @param version default: every version of the model
   * @returns `name@version` of what is unloading
   * @throws SaladClientError: NOT_FOUND, or FAILED_PRECONDITION where no model would be left
   */
  async unloadModel(name: string, version?: number, options: CallOptions = {}): Promise<readonly string[]> {
    return this.#registry.unload(name, version, options);
  }

  /** Yields all versions at once and after every change. Needs the scope `admin`. @throws SaladClientError */
  watchModels(options: CallOptions = {}): AsyncGenerator<readonly ModelVersion[], void, undefined> {
    return this.#registry.watch(options);
  }

  /**
   * Reads the health of a server. It needs no credentials.
   * @param service empty for the whole server; a service, such as `salad.v1.AnomalyScoring`; an engine, such as
   *   `salad.engine.onnx`, which is SERVING if it scores; or a model, such as `salad.model.phantom` or
   *   `salad.model.phantom@1`
   * @returns undefined if the server has no such service
   * @throws SaladClientError
   */
  async health(service = '', options: CallOptions = {}): Promise<HealthState | undefined> {
    return new Promise((resolve, reject) => {
      const callback = (error: ServiceError | null, state: HealthState) => {
        removeListener();
        if (error === null) resolve(state);
        else if (error.code === status.NOT_FOUND) resolve(undefined);
        else reject(new SaladClientError(error));
      };
      const call = this.#health['check']?.(service, new Metadata(), deadlineOf(options), callback);
      const removeListener = cancelOnAbort(call, options.signal);
    });
  }

  #score(
    stream: (call: CallOptions) => AsyncIterable<AcquisitionEvent>,
    replayable: boolean,
    { onEvent, onRetry, retry = this.#retry, signal, timeoutMs }: ScoreOptions,
  ): Promise<AcquisitionAggregate> {
    const attempt = (remainingMs: number | undefined) =>
      readAggregate(
        stream({
          ...(signal ? { signal } : {}),
          ...(remainingMs === undefined ? {} : { timeoutMs: remainingMs }),
        }),
        onEvent,
      );
    return withRetry(attempt, retry, { replayable, timeoutMs, signal, onRetry });
  }

  #callMetadata(): Metadata {
    const metadata = new Metadata();
    for (const [key, value] of Object.entries(this.#metadata())) metadata.set(key, value);
    return metadata;
  }
}

/** Reads a stream to its end. */
async function readAggregate(
  stream: AsyncIterable<AcquisitionEvent>,
  onEvent: ((event: AcquisitionEvent) => void) | undefined,
): Promise<AcquisitionAggregate> {
  let aggregate: AcquisitionAggregate | undefined;
  for await (const event of stream) {
    onEvent?.(event);
    if (event.type === 'aggregate') aggregate = event.aggregate;
  }
  if (!aggregate) throw SaladClientError.local('INTERNAL', 'the server ended the call without an aggregate');
  return aggregate;
}
