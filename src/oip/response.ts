/** The answer to a request, and what is known of its run. */
import type { Aggregate } from '../acquisition/index.js';
import type { InferParameter, ModelInferResponse } from '../gen/inference/grpc_service.js';
import type { OutputTensor } from './encoded-tensor.js';
import type { InferRequest } from './infer-request.js';
import type { ModelView } from './views.js';

/** Engines, warnings and times of one request. Times are in ms of the wall clock. */
export class InferFacts {
  readonly engines = new Set<string>();
  /** By image. */
  readonly warnings: Aggregate['warnings'][];
  private readonly startedAt = performance.now();
  private inputMs: number | undefined;
  private queueMsTotal = 0;
  private outputAt = 0;

  /** @param count images or tiles */
  constructor(readonly count: number) {
    this.warnings = Array.from({ length: count }, () => []);
  }

  /** The pixels of the first image are known. */
  inputEnded(): void {
    this.inputMs ??= performance.now() - this.startedAt;
  }

  scored(image: number, { engines, warnings, timings }: Aggregate): void {
    for (const engine of engines) this.engines.add(engine);
    this.warnings[image] = warnings;
    this.queueMsTotal += timings.queueMs;
  }

  scoredTiles(engines: Iterable<string>, queueMs: number): void {
    for (const engine of engines) this.engines.add(engine);
    this.queueMsTotal = queueMs * this.count;
  }

  /** Everything is scored. */
  outputStarted(): void {
    this.outputAt = performance.now();
  }

  /** Parts of the time until now; they add up to it. @param totalMs since the request came */
  split(totalMs: number) {
    const outputMs = Math.min(totalMs, performance.now() - this.outputAt);
    const inputMs = Math.min(totalMs - outputMs, this.inputMs ?? 0);
    const queueMs = Math.min(totalMs - outputMs - inputMs, this.queueMsTotal / this.count);
    return { inputMs, queueMs, outputMs, inferMs: totalMs - outputMs - inputMs - queueMs };
  }
}

/** @param isFinal adds what marks the only answer to a request of a stream */
export function responseOf(
  { id }: InferRequest,
  { name, model }: ModelView,
  outputs: readonly OutputTensor[],
  facts: InferFacts,
  isFinal: boolean,
): ModelInferResponse {
  const parameters: Record<string, InferParameter> = {
    engine: text([...facts.engines].join(',')),
    bundle_sha256: text(model.sha256),
  };
  if (facts.warnings.some((warnings) => warnings.length > 0)) {
    parameters['warnings'] = text(JSON.stringify(facts.warnings));
  }
  if (isFinal) parameters['triton_final_response'] = { parameterChoice: { $case: 'boolParam', value: true } };
  return {
    modelName: name,
    modelVersion: String(model.version),
    id,
    parameters,
    outputs: outputs.map(({ name: output, datatype, shape }) => ({
      ...{ name: output, datatype, shape: shape.map(BigInt), parameters: {} },
      contents: undefined,
    })),
    rawOutputContents: outputs.map(({ data }) => data),
  };
}

function text(value: string): InferParameter {
  return { parameterChoice: { $case: 'stringParam', value } };
}
