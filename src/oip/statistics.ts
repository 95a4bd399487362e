/** Counts and times of the requests of each version of a model, since it was loaded. */
import type { ServedModel } from '../acquisition/index.js';
import type {
  InferBatchStatistics,
  ModelStatistics,
  StatisticDuration,
} from '../gen/inference/grpc_service.js';
import type { InferFacts } from './response.js';
import type { ModelView, View } from './views.js';

const NS_PER_MS = 1e6;

/** One request while it runs; one of the two is called at its end. */
export interface RequestRecord {
  succeeded(facts: InferFacts): void;
  failed(): void;
}

export class Statistics {
  /** Weak: counters go with the version they belong to, once it is unloaded. */
  private readonly byModel = new WeakMap<ServedModel, Map<View, ModelCounters>>();

  start(view: ModelView): RequestRecord {
    const startedAt = performance.now();
    const counters = this.of(view);
    return {
      succeeded: (facts) => counters.succeeded(facts, performance.now() - startedAt),
      failed: () => counters.fail.add(performance.now() - startedAt),
    };
  }

  message(view: ModelView): ModelStatistics {
    return this.of(view).message(view);
  }

  private of({ view, model }: ModelView): ModelCounters {
    const byView = this.byModel.get(model) ?? new Map<View, ModelCounters>();
    this.byModel.set(model, byView);
    const counters = byView.get(view) ?? new ModelCounters();
    byView.set(view, counters);
    return counters;
  }
}

/** A count of durations and their sum. */
class Durations {
  private count = 0;
  private ms = 0;

  add(ms: number): void {
    this.count += 1;
    this.ms += ms;
  }

  message(): StatisticDuration {
    return { count: BigInt(this.count), ns: BigInt(Math.round(this.ms * NS_PER_MS)) };
  }
}

class ModelCounters {
  readonly fail = new Durations();
  private readonly success = new Durations();
  private readonly queue = new Durations();
  private readonly parts = new PartDurations();
  private readonly bySize = new Map<number, PartDurations>();
  private inferences = 0;
  private executions = 0;
  private lastMs = 0;

  succeeded(facts: InferFacts, totalMs: number): void {
    const split = facts.split(totalMs);
    this.success.add(totalMs);
    this.queue.add(split.queueMs);
    this.parts.add(split);
    const ofSize = this.bySize.get(facts.count) ?? new PartDurations();
    this.bySize.set(facts.count, ofSize);
    ofSize.add(split);
    this.inferences += facts.count;
    this.executions += 1;
    this.lastMs = Date.now();
  }

  message({ name, model }: ModelView): ModelStatistics {
    const sizes = [...this.bySize].sort(([a], [b]) => a - b);
    return {
      name,
      version: String(model.version),
      lastInference: BigInt(this.lastMs),
      inferenceCount: BigInt(this.inferences),
      executionCount: BigInt(this.executions),
      inferenceStats: {
        success: this.success.message(),
        fail: this.fail.message(),
        queue: this.queue.message(),
        ...this.parts.message(),
        cacheHit: new Durations().message(),
        cacheMiss: new Durations().message(),
      },
      batchStats: sizes.map(([size, parts]) => ({ batchSize: BigInt(size), ...parts.message() })),
      memoryUsage: [],
      responseStats: {},
    };
  }
}

class PartDurations {
  private readonly input = new Durations();
  private readonly infer = new Durations();
  private readonly output = new Durations();

  add({ inputMs, inferMs, outputMs }: { inputMs: number; inferMs: number; outputMs: number }): void {
    this.input.add(inputMs);
    this.infer.add(inferMs);
    this.output.add(outputMs);
  }

  message(): Omit<InferBatchStatistics, 'batchSize'> {
    return {
      computeInput: this.input.message(),
      computeInfer: this.infer.message(),
      computeOutput: this.output.message(),
    };
  }
}
