/** Scores the images of one request; each is one acquisition. */
import { type AcquisitionEvent, type Aggregate, scoreAcquisition } from '../acquisition/index.js';
import { SaladError } from '../errors/index.js';
import { type AcquisitionHeader, AnomalyMapFormat, ScoringOptions } from '../gen/salad/v1/types.js';
import type { AcquisitionTrace } from '../telemetry/telemetry.js';
import {
  imageRequestFrom,
  rowMessages,
  type ImageContext as WireImageContext,
} from '../wire/image-request.js';
import { forEachImage } from './batch.js';
import type { OutputTensor } from './encoded-tensor.js';
import { headerOf, type RequestedImages, requestedImages } from './image-inputs.js';
import type { InputTensor, Reservations } from './input-tensors.js';
import { ImageOutputs, needsOf, OUTPUT_COPIES, type OutputNeeds } from './output-tensors.js';
import type { RequestSettings } from './parameters.js';
import { InferFacts } from './response.js';
import type { ModelView } from './views.js';

export interface ImageContext extends WireImageContext {
  /** Until the request is answered. */
  readonly reservations: Reservations;
  /** Until the answer is sent. */
  readonly answer: Reservations;
  /** @param model its key */
  readonly startTrace: (model: string) => AcquisitionTrace;
}

/** Outputs in the order of their names, with engines and warnings. */
export interface InferResult {
  readonly outputs: readonly OutputTensor[];
  readonly facts: InferFacts;
}

/** Enough that images of one tile fill the batches of a few workers. */
const IMAGES_AT_ONCE = 8;

const MAPS = {
  none: AnomalyMapFormat.ANOMALY_MAP_FORMAT_NONE,
  float32: AnomalyMapFormat.ANOMALY_MAP_FORMAT_FLOAT32,
  pngOverlay: AnomalyMapFormat.ANOMALY_MAP_FORMAT_PNG_OVERLAY,
} as const;

/** @throws SaladError of any reason the images, the request or the load give */
export async function inferImages(
  [tensor]: readonly InputTensor[],
  view: ModelView,
  settings: RequestSettings,
  names: readonly string[],
  context: ImageContext,
): Promise<InferResult> {
  const { model } = view;
  const { answer, signal } = context;
  const needs = needsOf(names, model);
  const images = await requestedImages(tensor!, view, settings, context);
  answer.reserve(OUTPUT_COPIES * images.count * needs.bytes);
  const header = headerOf(view, settings, images, optionsOf(needs, settings, view));
  const outputs = new ImageOutputs(names, model, images.count);
  const facts = new InferFacts(images.count);
  await forEachImage(images.count, IMAGES_AT_ONCE, signal, async (index, own) => {
    const takeEvent = (event: AcquisitionEvent) => {
      outputs.take(index, event);
      if (event.kind === 'accepted') facts.inputEnded();
      if (event.kind === 'aggregate') facts.scored(index, event.aggregate);
    };
    try {
      await scoreImage({ images, index, header, settings }, view, { ...context, signal: own }, takeEvent);
    } catch (error) {
      throw named(error, index, images.count);
    }
  });
  facts.outputStarted();
  return { outputs: outputs.tensors(), facts };
}

interface RequestedImage {
  readonly images: RequestedImages;
  readonly index: number;
  readonly header: AcquisitionHeader;
  readonly settings: RequestSettings;
}

async function scoreImage(
  { images, index, header, settings }: RequestedImage,
  { model }: ModelView,
  context: ImageContext,
  onEvent: (event: AcquisitionEvent) => void,
): Promise<void> {
  const trace = context.startTrace(model.key);
  try {
    const message = { header, image: images.image(index), frame: settings.frame };
    const image = await imageRequestFrom(message, header, model, context);
    const { request, samples, release } = image;
    try {
      const rows = rowMessages(request.format, samples, context.signal);
      const acquisition = { ...request, tag: trace.tag };
      for await (const event of scoreAcquisition(model, acquisition, rows, context.signal)) {
        onEvent(event);
        const aggregate: Aggregate | undefined = event.kind === 'aggregate' ? event.aggregate : undefined;
        trace.messageSent(event.kind, aggregate);
      }
    } finally {
      release();
    }
    trace.ended();
  } catch (error) {
    trace.ended(error);
    throw error;
  }
}

function optionsOf(
  { patchScores, embeddings, nearest, map }: OutputNeeds,
  { options }: RequestSettings,
  { model }: ModelView,
): ScoringOptions {
  return ScoringOptions.fromPartial({
    ...options,
    ...{ patchScores, embeddings, topPatches: 0, anomalyMap: MAPS[map] },
    nearestPrototypes: nearest ? model.manifest.scoring.neighbourCount : 0,
  });
}

/** Fields of ScoreImage as this protocol names them. */
const FIELDS: readonly (readonly [pattern: RegExp, replacement: string])[] = [
  [/^header\.image\.voi\.window\./, 'parameters.window_'],
  [/^header\.(image|options)\./, 'parameters.'],
  [/^frame$/, 'parameters.frame'],
  [/^(encoded|raw|rows\.samples)$/, 'inputs.image'],
];

/** Says which image failed, and names its fields as this protocol does. */
function named(thrown: unknown, index: number, count: number): unknown {
  if (!(thrown instanceof SaladError)) return thrown;
  const { reason, retryAfterMs } = thrown;
  const fieldViolations = thrown.fieldViolations.map(({ field, description }) => ({
    field: FIELDS.reduce((name, [pattern, replacement]) => name.replace(pattern, replacement), field),
    description,
  }));
  const [first] = fieldViolations;
  const message = first === undefined ? thrown.message : `${first.field}: ${first.description}`;
  return new SaladError(reason, count === 1 ? message : `image ${index}: ${message}`, {
    cause: thrown,
    fieldViolations,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
}
