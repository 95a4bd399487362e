/** Takes instances from the inbox and scores them, STAT first, until it is stopped. */
import { DicomDecoder } from '../../../../src/dicom/decoder/dicom-decoder.js';
import { SaladError } from '../../../../src/errors/index.js';
import type { Inbox } from '../inbox/inbox.js';
import { pathOf } from '../inbox/inbox.js';
import {
  ATTEMPTS_MAX,
  type Instance,
  type ObjectKind,
  type Priority,
  type WantedObjects,
} from '../inbox/instance.js';
import { type BackoffOptions, waitMs } from './backoff.js';
import { type AttemptFailure, failureOf } from './failure.js';
import { Pauses } from './pauses.js';
import { type ScoringTask, scoreInstance } from './score-instance.js';

export interface ScorerOptions extends Omit<ScoringTask, 'decoder' | 'withMaps' | 'timeoutMs' | 'signal'> {
  readonly inbox: Inbox;
  /** Those that get every result. */
  readonly destinations: readonly WantedObjects[];
  /** Instances at a time; one more for STAT. */
  readonly concurrency: number;
  readonly timeoutMs: Readonly<Record<Priority, number>>;
  readonly events: ScorerEvents;
  /** Runs `work`, which scores an instance, within a span. @default runs it */
  readonly traced?: <T>(instance: Instance, work: () => Promise<T>) => Promise<T>;
  /** Between attempts of one instance. @default 5 s to 10 min */
  readonly instanceBackoff?: BackoffOptions;
  /** While no server can score. @default 0.5 s to 30 s */
  readonly serverBackoff?: BackoffOptions;
}

export interface ScorerEvents {
  scored(instance: number, frames: number, milliseconds: number): void;
  /** @param failure its reason may hold the message of the server, which never receives data of the patient */
  attemptFailed(instance: number, failure: AttemptFailure): void;
  indexFailed(error: SaladError): void;
}

const INSTANCE_BACKOFF: BackoffOptions = { initialMs: 5000, maxMs: 600_000 };
const SERVER_BACKOFF: BackoffOptions = { initialMs: 500, maxMs: 30_000 };
/** How often the inbox is read for instances that are due, or that a command retried. */
const POLL_MS = 500;
/** Kinds of objects that are drawn from the anomaly map. */
const NEEDS_MAP: ReadonlySet<ObjectKind> = new Set(['segmentation', 'secondaryCapture']);

export class Scorer {
  private readonly decoder: DicomDecoder;
  private readonly abort = new AbortController();
  private readonly pauses = new Pauses();
  private readonly running: Promise<void>[] = [];
  /** Numbers of the instances that are being sent. */
  private readonly current = new Set<number>();
  /** Consecutive failures of the server; after each nothing is sent until `serverPausedUntil`. */
  private serverFailures = 0;
  private serverPausedUntil = 0;

  constructor(private readonly options: ScorerOptions) {
    this.decoder = new DicomDecoder({ processes: options.concurrency + 1 });
  }

  start(): void {
    for (let count = 0; count < this.options.concurrency; count++) this.running.push(this.work(undefined));
    // Instances that take hours on a slow server must not delay a STAT instance.
    this.running.push(this.work('stat'));
  }

  /** Call when an instance was received. */
  wake(): void {
    this.pauses.wake();
  }

  /** Aborts what is being sent; it is sent again at the next start. */
  async stop(): Promise<void> {
    this.abort.abort();
    this.pauses.close();
    await Promise.all(this.running);
    await this.decoder.close();
    this.options.targets.close();
  }

  private async work(onlyPriority: Priority | undefined): Promise<void> {
    const { signal } = this.abort;
    const { inbox, events } = this.options;
    while (!signal.aborted) {
      try {
        const isServerPaused = performance.now() < this.serverPausedUntil;
        const instance = isServerPaused ? undefined : inbox.index.takeNext(onlyPriority);
        if (instance === undefined) await this.pauses.untilWork(POLL_MS);
        else await this.score(instance);
      } catch (error) {
        // The index cannot be written, such as on a full disk. What was being sent is sent again.
        events.indexFailed(SaladError.from(error));
        await this.pauses.untilWork(POLL_MS);
        this.releaseStale();
      }
    }
  }

  /** Releases instances that the index says are being sent, and that are not. */
  private releaseStale(): void {
    const { index } = this.options.inbox;
    try {
      for (const { id, reason } of index.list('streaming')) {
        if (!this.current.has(id)) index.release(id, reason, 0);
      }
    } catch {
      // The next attempt to take an instance reports it.
    }
  }

  private async score(instance: Instance): Promise<void> {
    const { inbox, events, timeoutMs, destinations, traced = (_instance, work) => work() } = this.options;
    const { signal } = this.abort;
    const began = performance.now();
    this.current.add(instance.id);
    try {
      const task = {
        ...this.options,
        decoder: this.decoder,
        withMaps: destinations.some(({ kinds }) => kinds.some((kind) => NEEDS_MAP.has(kind))),
        timeoutMs: timeoutMs[instance.priority],
        signal,
      };
      const path = pathOf(inbox.folders, instance);
      const outcome = await traced(instance, () => scoreInstance(task, instance, path)).catch(
        (error: unknown) => failureOf(error),
      );
      if (!('scope' in outcome)) {
        const { result, maps } = outcome;
        inbox.index.scored(instance.id, JSON.stringify(result), destinations, maps);
        this.serverFailures = 0;
        events.scored(instance.id, result.frames.length, performance.now() - began);
      } else if (signal.aborted) inbox.index.release(instance.id, instance.reason, 0);
      else this.failed(instance, outcome);
    } finally {
      this.current.delete(instance.id);
    }
  }

  private failed({ id, attempts }: Instance, failure: AttemptFailure): void {
    const { inbox, events, instanceBackoff, serverBackoff } = this.options;
    events.attemptFailed(id, failure);
    const isLast = failure.scope === 'attempt' && attempts >= ATTEMPTS_MAX;
    if (failure.scope === 'instance' || isLast) {
      inbox.index.deadLetter(id, failure.reason);
    } else if (failure.scope === 'attempt') {
      inbox.index.postpone(id, failure.reason, waitMs(attempts, instanceBackoff ?? INSTANCE_BACKOFF));
    } else {
      this.serverFailures += 1;
      const wait = waitMs(this.serverFailures, serverBackoff ?? SERVER_BACKOFF);
      this.serverPausedUntil = performance.now() + wait;
      // If this instance is the cause, the others come first.
      inbox.index.release(id, failure.reason, 2 * wait);
    }
  }
}
