/**
 * Scores one acquisition: reads its pixels, yields patch scores while pixels still arrive, and yields one aggregate at
 * the end.
 */
import { abortError } from '../errors/abort.js';
import { thresholdFor } from '../scoring/calibration.js';
import { answerBytes, PATCHES_PER_EVENT } from './answer-bytes.js';
import { buildAggregate } from './final-aggregate.js';
import { acquisitionBytes } from './footprint.js';
import { AcquisitionRun } from './run.js';
import type { AcquisitionEvent, AcquisitionRequest, PixelMessage, ServedModel } from './types.js';

/**
 * Scores that complete within this time after a message are sent together in the next message, because a message costs
 * the port about as much time as the scoring of a small tile. The first and the last scores are sent without delay.
 */
const GATHER_MS = 50;

/**
 * Yields `accepted`, then patches as they are scored, then the aggregate. Ends as soon as `signal` aborts. Releases all
 * reserved memory in every case.
 * @throws SaladError for invalid pixels, an invalid request or overload; CANCELLED, DEADLINE_EXCEEDED
 */
export async function* scoreAcquisition(
  model: ServedModel,
  request: AcquisitionRequest,
  pixels: AsyncIterable<PixelMessage>,
  signal: AbortSignal,
): AsyncGenerator<AcquisitionEvent> {
  model.batcher.refuseWhenSlow(request.priority, model.geometry.tileCount, request.peer);
  const threshold = thresholdFor(model.manifest.calibration, request.options.maxFalsePositiveRate);
  const release = model.budget.admit(
    request.peer,
    acquisitionBytes(model, request) + answerBytes(model, request),
  );
  const run = new AcquisitionRun(model, request);
  const onAbort = () => run.abort(abortError(signal));
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    signal.throwIfAborted();
    run.open();
    const { streamable, placement, workingToSource } = run.image;
    yield {
      kind: 'accepted',
      engine: run.announcedEngine,
      scoresBeforeLastPixel: streamable,
      placement,
      workingToSource,
    };
    void run.read(pixels);
    let sentAt = Number.NEGATIVE_INFINITY;
    while (!run.isDone) {
      run.throwIfFailed();
      if (request.options.patchScores && run.results.hasNew) {
        const waitMs = sentAt + GATHER_MS - model.batcher.now();
        if (waitMs > 0) await run.doneWithin(waitMs);
        yield run.takePatches(PATCHES_PER_EVENT);
        sentAt = model.batcher.now();
      } else {
        await run.progress.wait();
      }
    }
    run.throwIfFailed();
    while (request.options.patchScores && run.results.hasNew) {
      yield run.takePatches(PATCHES_PER_EVENT);
    }
    const aggregate = await buildAggregate(model, request, run.outcome(), threshold);
    run.throwIfFailed();
    yield { kind: 'aggregate', aggregate };
  } finally {
    signal.removeEventListener('abort', onAbort);
    run.close();
    release();
  }
}
