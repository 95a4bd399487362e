import type { TrainingProgress } from '../../training/encoders/preset.js';
import { createProgress, type Progress, printJson } from '../shared/output.js';

/** Shows progress on stderr, a bar per stage, and epochs as JSON lines on stdout where asked. */
export class TrainingProgressView {
  readonly #json: boolean;
  #bar: Progress | undefined;
  #stage = '';

  constructor(json: boolean) {
    this.#json = json;
  }

  show(progress: TrainingProgress): void {
    if (progress.stage !== this.#stage) {
      this.stop();
      this.#stage = progress.stage;
      this.#bar = createProgress(progress.stage, progress.total);
    }
    const { round, epoch, losses } = progress;
    const parts = [
      round === undefined ? '' : `round ${round}`,
      epoch === undefined ? '' : `epoch ${epoch}`,
      ...Object.entries(losses ?? {}).map(([name, value]) => `${name} ${value.toFixed(4)}`),
    ];
    this.#bar?.update(progress.step, parts.filter(Boolean).join(' '));
    // Presets without epochs report each finished stage as one.
    const finished = progress.epochEnded ?? progress.step === progress.total;
    if (this.#json && finished) printJson({ event: 'epoch', ...progress });
  }

  stop(): void {
    this.#bar?.stop();
    this.#bar = undefined;
  }
}
