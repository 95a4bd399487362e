/**
 * One acquisition: pixels in, patch scores and one aggregate out. It reads and answers at the same time: scores
 * go out while rows still come in.
 */
import { thresholdFor } from '../scoring/calibration.js';
import { abortError } from './abort-error.js';
import { aggregateOf } from './aggregate.js';
import { answerBytes, PATCHES_PER_EVENT } from './answer-bytes.js';
import { acquisitionBytes } from './footprint.js';
import { AcquisitionRun } from './run.js';
import type { AcquisitionEvent, AcquisitionRequest, PixelMessage, ServedModel } from './types.js';

/**
 * Tiles that complete within this time of the last message share the next: a message costs the port about as much as
 * scoring a small tile. The first scores and the last never wait.
 */
const GATHER_MS = 50;

/**
 * Yields `accepted`, then patches as they are scored, then the aggregate. Ends the moment `signal` aborts; all
 * room is given back however it ends.
 * @throws SaladError of any reason the pixels, the request or the load give; CANCELLED, DEADLINE_EXCEEDED
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
        const wait = sentAt + GATHER_MS - model.batcher.now();
        if (wait > 0) await run.doneWithin(wait);
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
    const aggregate = await aggregateOf(model, request, run.outcome(), threshold);
    run.throwIfFailed();
    yield { kind: 'aggregate', aggregate };
  } finally {
    signal.removeEventListener('abort', onAbort);
    run.close();
    release();
  }
}
