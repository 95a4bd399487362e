/**
 * inference.GRPCInferenceService, the Open Inference Protocol v2 with Triton's methods: scoring. `inference-models.ts`
 * has the methods about the server and its models.
 */
import type {
  handleBidiStreamingCall,
  handleServerStreamingCall,
  ServiceDefinition,
  UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { Latch } from '../../acquisition/index.js';
import { callerOf } from '../../auth/caller.js';
import { SaladError } from '../../errors/index.js';
import {
  GRPCInferenceServiceService,
  ModelInferResponse,
  type ModelStreamInferResponse,
} from '../../gen/inference/grpc_service.js';
import { messageBytes, messageProcessed } from '../../limits/message-receiver.js';
import { infer } from '../../oip/infer.js';
import type { InferRequest } from '../../oip/infer-request.js';
import { Statistics } from '../../oip/statistics.js';
import { readRequests } from '../../wire/request-reader.js';
import { ResponseWriter, type WritableCall } from '../../wire/response-writer.js';
import { toServiceError } from '../../wire/status.js';
import { monotonicDeadline, type StreamingCall } from './call-tracker.js';
import { inferenceModelHandlers, type OpenInferenceContext } from './inference-models.js';

/**
 * ModelInfer as a method that streams its only answer. On the wire it is the same, and here the answer takes the same
 * way as those of other scoring calls: it is bounded in time until it is read, and a drain waits for it.
 */
export const OPEN_INFERENCE_SERVICE: ServiceDefinition = {
  ...GRPCInferenceServiceService,
  modelInfer: { ...GRPCInferenceServiceService.modelInfer, responseStream: true },
};

/** Requests of one stream that are scored at a time. */
const REQUESTS_AT_ONCE = 8;
const READING_ENDED = 'the handler reads no more requests';

export function openInferenceHandlers(context: OpenInferenceContext): UntypedServiceImplementation {
  const statistics = new Statistics();
  const { calls, config } = context;
  const modelInfer: handleServerStreamingCall<InferRequest, ModelInferResponse> = (call) => {
    void calls.serve(call, async (signal) => {
      context.registry.budget.refuseWhenFull();
      const own = inferContext(context, statistics, call);
      const { response, release } = await infer(call.request, own, signal, false);
      try {
        const writer = new ResponseWriter<ModelInferResponse>(call, signal, config.idleTimeoutMs);
        await writer.write(response, true);
      } finally {
        release();
      }
    });
  };
  const modelStreamInfer: handleBidiStreamingCall<InferRequest, ModelStreamInferResponse> = (call) => {
    void calls.serve(call, async (signal) => {
      const own = inferContext(context, statistics, call);
      const answer = async (request: InferRequest): Promise<StreamAnswer> => {
        try {
          const { response, release } = await infer(request, own, signal, true);
          return { response: { errorMessage: '', inferResponse: response }, release };
        } catch (error) {
          if (signal.aborted) throw signal.reason;
          return { response: failedResponse(request, error, context), release: () => {} };
        }
      };
      await answerStream(call, context, signal, answer);
    });
  };
  return { ...inferenceModelHandlers(context, statistics), modelInfer, modelStreamInfer };
}

function inferContext(
  { config, registry, dicom, decoding, telemetry }: OpenInferenceContext,
  statistics: Statistics,
  call: StreamingCall,
): Parameters<typeof infer>[1] {
  const carrier = call.metadata.getMap();
  const method = call.getPath().slice(1);
  return {
    ...{ models: registry, statistics, dicom, decoding, maxImagePixels: config.maxImagePixels },
    peer: callerOf(call.metadata)?.peer ?? 'unknown',
    deadline: (model) => monotonicDeadline(call, model.batcher.now()),
    startTrace: (model) => telemetry.startAcquisition(carrier, method, model),
  };
}

type InferStream = StreamingCall &
  WritableCall<ModelStreamInferResponse> &
  Parameters<typeof readRequests<InferRequest>>[0];

interface StreamAnswer {
  readonly response: ModelStreamInferResponse;
  /** As that of `Answer`. */
  readonly release: () => void;
}

/**
 * Scores the requests of a stream, a few at a time, and answers in their order. Ends with the client's half of the
 * stream; in a drain, with DRAINING once what was begun is answered.
 * @throws SaladError DRAINING, IDLE_TIMEOUT, and the reason of the signal
 */
async function answerStream(
  call: InferStream,
  { config, calls }: OpenInferenceContext,
  signal: AbortSignal,
  answer: (request: InferRequest) => Promise<StreamAnswer>,
): Promise<void> {
  const reading = new AbortController();
  const stopReading = () => reading.abort(READING_ENDED);
  signal.addEventListener('abort', stopReading, { once: true });
  calls.drainSignal.addEventListener('abort', stopReading, { once: true });
  const unanswered = new Set<InferRequest>();
  const room = new Latch();
  const requests = readRequests<InferRequest>(call, {
    sizeOf: messageBytes,
    maxPendingBytes: config.maxPendingBytes,
    idleTimeoutMs: config.idleTimeoutMs,
    signal: reading.signal,
    isBusy: () => unanswered.size > 0,
    onReleased: (request) => {
      if (!unanswered.has(request)) messageProcessed(request);
    },
  });
  const writer = new ResponseWriter<ModelStreamInferResponse>(call, signal, config.idleTimeoutMs);
  let written: Promise<void> = Promise.resolve();
  try {
    for await (const request of requests) {
      unanswered.add(request);
      const answered = answer(request);
      // The failure is written in its turn, after the answers of earlier requests; reading stops at once.
      answered.catch(stopReading);
      written = writeInTurn(writer, written, answered).finally(() => {
        unanswered.delete(request);
        messageProcessed(request);
        room.open();
      });
      written.catch(stopReading);
      while (unanswered.size >= REQUESTS_AT_ONCE) await room.wait();
    }
    await written;
    if (calls.drainSignal.aborted) throw calls.drainSignal.reason;
  } finally {
    stopReading();
    signal.removeEventListener('abort', stopReading);
    calls.drainSignal.removeEventListener('abort', stopReading);
  }
}

/** Writes an answer after the earlier ones. @throws what ended an earlier one, the answer or the call */
async function writeInTurn(
  writer: ResponseWriter<ModelStreamInferResponse>,
  earlier: Promise<void>,
  answered: Promise<StreamAnswer>,
): Promise<void> {
  const [before, own] = await Promise.allSettled([earlier, answered]);
  try {
    if (before.status === 'rejected') throw before.reason;
    if (own.status === 'rejected') throw own.reason;
    await writer.write(own.value.response, true);
  } finally {
    if (own.status === 'fulfilled') own.value.release();
  }
}

/** In a stream an error is an answer, with the id of its request. */
function failedResponse(
  { id, modelName, modelVersion }: InferRequest,
  thrown: unknown,
  { logger, config, telemetry }: OpenInferenceContext,
): ModelStreamInferResponse {
  const error = SaladError.from(thrown);
  const fields = { reason: error.reason, ...telemetry.traceIdsOf(thrown) };
  const { details } = toServiceError(error, config.retryDelayMs);
  if (error.kind === 'internal') logger.error({ err: thrown, ...fields }, 'inference failed');
  else logger.debug(fields, error.message);
  return {
    errorMessage: details,
    inferResponse: ModelInferResponse.fromPartial({ id, modelName, modelVersion }),
  };
}
