/** One request of ModelInfer, from its message to its answer. */
import type { ServedModel } from '../acquisition/index.js';
import { callerText, SaladError } from '../errors/index.js';
import type { ModelInferResponse } from '../gen/inference/grpc_service.js';
import { classificationCount, classified } from './classification.js';
import type { OutputTensor } from './encoded-tensor.js';
import { type ImageContext, inferImages } from './infer-images.js';
import type { InferRequest } from './infer-request.js';
import { inferTiles } from './infer-tiles.js';
import { inputTensors, Reservations } from './input-tensors.js';
import { IMAGE_OUTPUTS } from './output-tensors.js';
import { readSettings, refuseUnknown } from './parameters.js';
import { type InferFacts, responseOf } from './response.js';
import type { Statistics } from './statistics.js';
import { findView, type ModelSource, type ModelView, outputsOf, SCORE } from './views.js';

export interface InferContext extends Omit<ImageContext, 'reservations' | 'answer' | 'signal' | 'deadline'> {
  readonly models: ModelSource;
  readonly statistics: Statistics;
  /** Of the call, in ms of the batcher's clock; Infinity without one. */
  readonly deadline: (model: ServedModel) => number;
}

export interface Answer {
  readonly response: ModelInferResponse;
  /** Must be called when the response is sent, or will never be: its memory is reserved until then. */
  readonly release: () => void;
}

export interface RequestedOutput {
  readonly name: string;
  /** Labels for each image; 0: the tensor itself. */
  readonly labels: number;
}

/**
 * @param isStream whether the answer is one of ModelStreamInfer
 * @throws SaladError of any reason the request, the pixels or the load give
 */
export async function infer(
  request: InferRequest,
  context: InferContext,
  signal: AbortSignal,
  isStream: boolean,
): Promise<Answer> {
  const view = findView(context.models, request.modelName, request.modelVersion);
  const { name, version } = view.model;
  const lease = context.models.acquire(name, version);
  const record = context.statistics.start(view);
  try {
    const { facts, ...answer } = await inferView(request, view, context, signal, isStream);
    record.succeeded(facts);
    return answer;
  } catch (error) {
    record.failed();
    throw error;
  } finally {
    lease.release();
  }
}

async function inferView(
  request: InferRequest,
  view: ModelView,
  context: InferContext,
  signal: AbortSignal,
  isStream: boolean,
): Promise<Answer & { readonly facts: InferFacts }> {
  const { model } = view;
  const settings = readSettings(request.parameters, view.view === 'tiles' ? 'tiles' : 'image');
  const requested = requestedOutputs(request, view);
  const tensors = inputTensors(request, view);
  const reservations = new Reservations(model.budget, context.peer);
  const answer = new Reservations(model.budget, context.peer);
  const limited = limitTime(signal, settings.timeoutMs);
  const timeoutAt = model.batcher.now() + (settings.timeoutMs ?? Number.POSITIVE_INFINITY);
  const deadline = Math.min(context.deadline(model), timeoutAt);
  const own = { ...context, reservations, answer, signal: limited.signal, deadline };
  try {
    const names = requested.map(({ name }) => name);
    const run = view.view === 'tiles' ? inferTiles : inferImages;
    const { outputs, facts } = await run(tensors, view, settings, names, own);
    const isFinal = isStream && settings.marksFinalResponse;
    const response = responseOf(request, view, labelled(outputs, requested), facts, isFinal);
    return { response, facts, release: () => answer.release() };
  } catch (error) {
    answer.release();
    throw error;
  } finally {
    limited.stop();
    reservations.release();
  }
}

/** @throws SaladError TENSOR_INVALID, PARAMETER_INVALID */
function requestedOutputs({ outputs }: InferRequest, view: ModelView): readonly RequestedOutput[] {
  const listed = outputsOf(view).map(({ name }) => name);
  if (outputs.length === 0) return listed.map((name) => ({ name, labels: 0 }));
  const known = view.view === 'image' ? IMAGE_OUTPUTS : listed;
  const requested: RequestedOutput[] = [];
  for (const { name, parameters } of outputs) {
    if (!known.includes(name) || requested.some((each) => each.name === name)) {
      const problem = known.includes(name) ? 'repeated' : 'unexpected';
      const why = `${problem} inference output '${callerText(name)}' for model '${view.name}'; its outputs: ${known.join(', ')}`;
      throw SaladError.field('TENSOR_INVALID', 'outputs', why);
    }
    refuseUnknown(parameters, name === SCORE ? ['classification'] : [], `outputs.${name}.parameters`);
    const choice = parameters['classification']?.parameterChoice;
    requested.push({ name, labels: choice === undefined ? 0 : classificationCount(choice.value, name) });
  }
  return requested;
}

function labelled(
  outputs: readonly OutputTensor[],
  requested: readonly RequestedOutput[],
): readonly OutputTensor[] {
  return outputs.map((output, index) => {
    const { labels } = requested[index]!;
    return labels === 0 ? output : classified(output, labels);
  });
}

/** @returns a signal that aborts with `signal`, and with DEADLINE_EXCEEDED after `timeoutMs`; `stop` ends its timer */
function limitTime(signal: AbortSignal, timeoutMs: number | undefined) {
  if (timeoutMs === undefined) return { signal, stop: () => {} };
  const controller = new AbortController();
  const onAbort = () => controller.abort(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  const expire = () => {
    const why = `the timeout of the request passed: ${timeoutMs} ms`;
    controller.abort(new SaladError('DEADLINE_EXCEEDED', why));
  };
  // A timer holds at most 24 days.
  const timer = setTimeout(expire, Math.min(timeoutMs, 2 ** 31 - 1));
  return {
    signal: controller.signal,
    stop: () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
    },
  };
}
