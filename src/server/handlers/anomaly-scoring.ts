/** salad.v1.AnomalyScoring: both calls are one path, fed by rows and tiles as they come or by a whole image. */
import { availableParallelism } from 'node:os';
import type { handleBidiStreamingCall, handleServerStreamingCall } from '@grpc/grpc-js';
import {
  type AcquisitionRequest,
  type PixelMessage,
  type ServedModel,
  scoreAcquisition,
} from '../../acquisition/index.js';
import { type Caller, callerOf } from '../../auth/caller.js';
import type { ServeConfig } from '../../config/schema.js';
import { SaladError } from '../../errors/index.js';
import type {
  AnomalyScoringServer,
  ScoreImageRequest,
  ScoreImageResponse,
  StreamAcquisitionRequest,
  StreamAcquisitionResponse,
} from '../../gen/salad/v1/anomaly_scoring.js';
import type { AcquisitionHeader } from '../../gen/salad/v1/types.js';
import { DecodeQueue } from '../../imaging/decode/queue.js';
import { messageTaken } from '../../limits/intake.js';
import type { ModelRegistry } from '../../registry/model-registry.js';
import type { Telemetry } from '../../telemetry/telemetry.js';
import { checkAcquisitionId, checkModelName, requestFrom } from '../../wire/header.js';
import { imageRequestFrom, rowChunks } from '../../wire/image-request.js';
import { answerOf } from '../../wire/messages.js';
import { readRequests } from '../../wire/request-reader.js';
import { ResponseWriter, type WritableCall } from '../../wire/response-writer.js';
import { type CallTracker, monotonicDeadline, type StreamingCall } from './call-tracker.js';

/** Images decompressed at once: each takes a thread of its own. */
const DECODED_AT_ONCE = Math.min(4, availableParallelism());

/** Without a reason of ours every call would make a DOMException with a stack trace that nobody reads. */
const DONE = 'requests are read no more';

export interface AnomalyScoringContext {
  readonly config: ServeConfig;
  readonly registry: ModelRegistry;
  readonly calls: CallTracker;
  readonly telemetry: Telemetry;
}

export function anomalyScoringHandlers(context: AnomalyScoringContext): AnomalyScoringServer {
  const decoding = new DecodeQueue(DECODED_AT_ONCE);
  const streamAcquisition: handleBidiStreamingCall<StreamAcquisitionRequest, StreamAcquisitionResponse> = (
    call,
  ) => {
    void context.calls.serve(call, async (signal) => {
      context.registry.budget.refuseWhenFull();
      // Its own signal: when the aggregate is out the client may still hold its side of the stream open.
      const reading = new AbortController();
      signal.addEventListener('abort', () => reading.abort(DONE), { once: true });
      const requests = readRequests(call, {
        sizeOf: messageBytes,
        maxPendingBytes: context.config.maxPendingBytes,
        idleTimeoutMs: context.config.idleTimeoutMs,
        signal: reading.signal,
        onTaken: messageTaken,
      });
      try {
        const caller = callerOf(call.metadata);
        const header = await readHeader(requests);
        const model = modelFor(context.registry, header);
        const request = requestFrom(header, model, {
          maxImagePixels: context.config.maxImagePixels,
          deadline: monotonicDeadline(call, model.batcher.now()),
          peer: peerOf(caller),
        });
        await answer(context, call, model, request, pixelsOf(requests), signal);
      } finally {
        reading.abort(DONE);
      }
    });
  };

  const scoreImage: handleServerStreamingCall<ScoreImageRequest, ScoreImageResponse> = (call) => {
    void context.calls.serve(call, async (signal) => {
      context.registry.budget.refuseWhenFull();
      const { header } = call.request;
      if (header === undefined) throw SaladError.field('HEADER_MISSING', 'header', 'is missing');
      const caller = callerOf(call.metadata);
      const model = modelFor(context.registry, header);
      const deadline = monotonicDeadline(call, model.batcher.now());
      const { maxImagePixels } = context.config;
      const { request, samples, release } = await imageRequestFrom(call.request, header, model, {
        maxImagePixels,
        deadline,
        decoding,
        signal,
        peer: peerOf(caller),
      });
      try {
        await answer(context, call, model, request, rowChunks(request.format, samples, signal), signal);
      } finally {
        release();
      }
    });
  };

  return { streamAcquisition, scoreImage };
}

/** Both calls answer alike. */
async function answer(
  { config, telemetry }: AnomalyScoringContext,
  call: StreamingCall & WritableCall<StreamAcquisitionResponse & ScoreImageResponse>,
  model: ServedModel,
  request: AcquisitionRequest,
  pixels: AsyncIterable<PixelMessage>,
  signal: AbortSignal,
): Promise<void> {
  const writer = new ResponseWriter<StreamAcquisitionResponse & ScoreImageResponse>(
    call,
    signal,
    config.idleTimeoutMs,
  );
  const traced = telemetry.acquisition(call.metadata.getMap(), call.getPath().slice(1), model.key);
  try {
    for await (const event of scoreAcquisition(model, { ...request, tag: traced.tag }, pixels, signal)) {
      const aggregate = event.kind === 'aggregate' ? event.aggregate : undefined;
      await writer.write(answerOf(event, model, request), aggregate !== undefined);
      traced.sent(event.kind, aggregate);
    }
    traced.ended();
  } catch (error) {
    traced.ended(error);
    throw error;
  }
}

function modelFor(registry: ModelRegistry, header: AcquisitionHeader): ServedModel {
  checkAcquisitionId(header);
  const name = header.model?.name ?? '';
  checkModelName(name, 'header.model.name');
  return registry.find(name, header.model?.version);
}

function peerOf(caller: Caller | undefined): string {
  return caller?.peer ?? 'unknown';
}

async function readHeader(requests: AsyncGenerator<StreamAcquisitionRequest>): Promise<AcquisitionHeader> {
  const first = await requests.next();
  if (first.done === true) {
    throw SaladError.field('HEADER_MISSING', 'header', 'the stream ended before a header came');
  }
  const { payload } = first.value;
  if (payload?.$case !== 'header') {
    throw SaladError.field(
      'HEADER_MISSING',
      'header',
      `must come first, but ${payload?.$case ?? 'nothing'} did`,
    );
  }
  return payload.value;
}

/** The samples stay views into the message as it was received. */
async function* pixelsOf(requests: AsyncIterable<StreamAcquisitionRequest>): AsyncGenerator<PixelMessage> {
  for await (const { payload } of requests) {
    switch (payload?.$case) {
      case 'rows':
        yield { kind: 'rows', firstRow: payload.value.firstRow, samples: payload.value.samples };
        break;
      case 'tiles':
        yield { kind: 'tiles', tiles: payload.value.tiles };
        break;
      case 'end':
        yield { kind: 'end', crc32c: payload.value.crc32c };
        break;
      case 'header':
        throw SaladError.field('HEADER_DUPLICATE', 'header', 'was sent twice');
      default:
        throw SaladError.field('MESSAGE_UNEXPECTED', 'payload', 'must be rows, tiles or end');
    }
  }
}

function messageBytes({ payload }: StreamAcquisitionRequest): number {
  if (payload?.$case === 'rows') return payload.value.samples.byteLength;
  if (payload?.$case === 'tiles') {
    return payload.value.tiles.reduce((sum, tile) => sum + tile.samples.byteLength, 0);
  }
  return 64;
}
