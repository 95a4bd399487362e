import type { TrainingProgress } from '../../../training/encoders/preset.js';
import { createProgress, type Progress, printJson } from '../../shared/output.js';

/** Shows the progress of training on stderr, one bar per stage; with `json` prints epochs as JSON lines on stdout. */
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
    const texts = [
      round === undefined ? '' : `round ${round}`,
      epoch === undefined ? '' : `epoch ${epoch}`,
      ...Object.entries(losses ?? {}).map(([name, value]) => `${name} ${value.toFixed(4)}`),
    ];
    this.#bar?.update(progress.step, texts.filter(Boolean).join(' '));
    // For presets without epochs, each finished stage counts as an epoch.
    const isEpochEnd = progress.epochEnded ?? progress.step === progress.total;
    if (this.#json && isEpochEnd) printJson({ event: 'epoch', ...progress });
  }

  stop(): void {
    this.#bar?.stop();
    this.#bar = undefined;
  }
}
