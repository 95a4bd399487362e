/** salad.v1.AnomalyScoring: both methods run one acquisition, from streamed rows and tiles or from a whole image. */
import type { ServerDuplexStream, ServerWritableStream } from '@grpc/grpc-js';
import {
  type AcquisitionRequest,
  type PixelMessage,
  type ServedModel,
  scoreAcquisition,
} from '../../acquisition/index.js';
import { type Caller, callerOf } from '../../auth/caller.js';
import type { AdmissionConfig } from '../../config/sections/admission.js';
import type { CallConfig } from '../../config/sections/calls.js';
import type { DicomDecoder } from '../../dicom/decoder/dicom-decoder.js';
import { SaladError } from '../../errors/index.js';
import type {
  AnomalyScoringServer,
  ScoreImageRequest,
  ScoreImageResponse,
  StreamAcquisitionRequest,
  StreamAcquisitionResponse,
} from '../../gen/salad/v1/anomaly_scoring.js';
import type { AcquisitionHeader, DicomInstance } from '../../gen/salad/v1/types.js';
import { messageProcessed } from '../../limits/message-receiver.js';
import type { ModelLease, ModelRegistry } from '../../registry/model-registry.js';
import type { Telemetry } from '../../telemetry/telemetry.js';
import type { Places } from '../../util/places.js';
import { checkAcquisitionId, checkModelName, requestFrom } from '../../wire/header.js';
import { imageRequestFrom, rowMessages } from '../../wire/image-request.js';
import { answerOf } from '../../wire/messages.js';
import { readRequests } from '../../wire/request-reader.js';
import { ResponseWriter, type WritableCall } from '../../wire/response-writer.js';
import { type CallTracker, monotonicDeadline, type StreamingCall } from './call-tracker.js';

/** Reason of every abort: without one each call would create a DOMException with an unused stack trace. */
const READING_ENDED = 'the handler reads no more requests';

export interface AnomalyScoringContext {
  readonly config: AdmissionConfig & CallConfig;
  readonly registry: ModelRegistry;
  readonly calls: CallTracker;
  readonly telemetry: Telemetry;
  readonly dicom: DicomDecoder;
  /** Where images wait for decompression. */
  readonly decoding: Places;
}

export function anomalyScoringHandlers(context: AnomalyScoringContext): AnomalyScoringServer {
  const { calls } = context;
  return {
    streamAcquisition: (call) => {
      void calls.serve(call, (signal) => scoreStream(context, call, signal));
    },
    scoreImage: (call) => {
      void calls.serve(call, (signal) => scoreImage(context, call, signal));
    },
  };
}

async function scoreStream(
  context: AnomalyScoringContext,
  call: ServerDuplexStream<StreamAcquisitionRequest, StreamAcquisitionResponse>,
  signal: AbortSignal,
): Promise<void> {
  const { config, registry } = context;
  registry.budget.refuseWhenFull();
  // A separate signal, because the client may keep its half of the stream open after the aggregate.
  const reading = new AbortController();
  signal.addEventListener('abort', () => reading.abort(READING_ENDED), { once: true });
  const requests = readRequests(call, {
    sizeOf: messageBytes,
    maxPendingBytes: config.maxPendingBytes,
    idleTimeoutMs: config.idleTimeoutMs,
    signal: reading.signal,
    onReleased: messageProcessed,
  });
  try {
    const caller = callerOf(call.metadata);
    const header = await readHeader(requests);
    const { model, release } = acquireModel(registry, header);
    try {
      const request = requestFrom(header, model, {
        maxImagePixels: config.maxImagePixels,
        deadline: monotonicDeadline(call, model.batcher.now()),
        peer: peerOf(caller),
      });
      await writeAnswers(context, call, model, request, pixelsOf(requests), signal);
    } finally {
      release();
    }
  } finally {
    reading.abort(READING_ENDED);
  }
}

type ScoreImageCall = ServerWritableStream<ScoreImageRequest, ScoreImageResponse>;

async function scoreImage(
  context: AnomalyScoringContext,
  call: ScoreImageCall,
  signal: AbortSignal,
): Promise<void> {
  context.registry.budget.refuseWhenFull();
  const { header } = call.request;
  if (header === undefined) throw SaladError.field('HEADER_MISSING', 'header', 'is missing');
  const { model, release } = acquireModel(context.registry, header);
  try {
    await scoreWholeImage(context, call, header, model, signal);
  } finally {
    release();
  }
}

async function scoreWholeImage(
  context: AnomalyScoringContext,
  call: ScoreImageCall,
  header: AcquisitionHeader,
  model: ServedModel,
  signal: AbortSignal,
): Promise<void> {
  const { request, samples, release, instance } = await imageRequestFrom(call.request, header, model, {
    maxImagePixels: context.config.maxImagePixels,
    deadline: monotonicDeadline(call, model.batcher.now()),
    decoding: context.decoding,
    dicom: context.dicom,
    signal,
    peer: peerOf(callerOf(call.metadata)),
  });
  try {
    const rows = rowMessages(request.format, samples, signal);
    await writeAnswers(context, call, model, request, rows, signal, instance);
  } finally {
    release();
  }
}

/** Scores an acquisition and writes its answers, for both methods. */
async function writeAnswers(
  { config, telemetry }: AnomalyScoringContext,
  call: StreamingCall & WritableCall<StreamAcquisitionResponse & ScoreImageResponse>,
  model: ServedModel,
  request: AcquisitionRequest,
  pixels: AsyncIterable<PixelMessage>,
  signal: AbortSignal,
  instance?: DicomInstance,
): Promise<void> {
  const writer = new ResponseWriter<StreamAcquisitionResponse & ScoreImageResponse>(
    call,
    signal,
    config.idleTimeoutMs,
  );
  const trace = telemetry.startAcquisition(call.metadata.getMap(), call.getPath().slice(1), model.key);
  try {
    for await (const event of scoreAcquisition(model, { ...request, tag: trace.tag }, pixels, signal)) {
      const aggregate = event.kind === 'aggregate' ? event.aggregate : undefined;
      await writer.write(answerOf(event, model, request, instance), aggregate !== undefined);
      trace.messageSent(event.kind, aggregate);
    }
    trace.ended();
  } catch (error) {
    trace.ended(error);
    throw error;
  }
}

/** The acquisition must release it at its end. */
function acquireModel(registry: ModelRegistry, header: AcquisitionHeader): ModelLease {
  checkAcquisitionId(header);
  const name = header.model?.name ?? '';
  checkModelName(name, 'header.model.name');
  return registry.acquire(name, header.model?.version);
}

function peerOf(caller: Caller | undefined): string {
  return caller?.peer ?? 'unknown';
}

async function readHeader(requests: AsyncGenerator<StreamAcquisitionRequest>): Promise<AcquisitionHeader> {
  const first = await requests.next();
  if (first.done === true) {
    throw SaladError.field('HEADER_MISSING', 'header', 'is missing: the stream has ended');
  }
  const { payload } = first.value;
  if (payload?.$case !== 'header') {
    throw SaladError.field(
      'HEADER_MISSING',
      'header',
      `must be the first message, but the first message was ${payload?.$case ?? 'empty'}`,
    );
  }
  return payload.value;
}

/** Yields the pixel messages. Samples are views into the received messages, not copies. */
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
