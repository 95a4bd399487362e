/**
 * Whether recent images score like those the model was calibrated on: a sequential test with a stated rate of false
 * alarms (docs/explanation/drift.md). Judged for each model over all clients of this server together, so it is told to
 * those who run the server, by metric and log, and in no answer: what one client sends must not change what another is
 * told.
 */
import { createRandom } from '../util/random.js';

/** Bets e p^(e-1) on small p-values, and the same on large ones. The lower e, the bolder. */
const EXPONENTS = [0.5, 0.7, 0.85] as const;
/** log10 of the mean wealth of the bets at which there is an alarm: on average at most one in 10^4 images is a false one. */
export const DRIFT_ALARM = 4;
/** Wealth is not counted beyond this, so that an alarm ends soon after the images are again as they were. */
const WEALTH_MAX = 1e6;
/** Images of the stream that later ones are ranked among; then it starts anew. */
const STREAM_MAX = 10_000;
/** Keeps a bet finite. */
const P_MIN = 1e-6;

export class ScoreDrift {
  /** Wealth of the bets on small and on large p-values. */
  readonly #wealth: number[] = new Array<number>(2 * EXPONENTS.length).fill(1);
  /** Places of earlier images of the stream among the calibration images, in (0, 1), ascending. */
  readonly #stream: number[] = [];
  readonly #random = createRandom(1);
  readonly #calibrationImages: number;
  #isAlarmed = false;

  /** @param calibrationImages n, where p-values are multiples of 1 / (n + 1) */
  constructor(calibrationImages: number) {
    this.#calibrationImages = calibrationImages;
  }

  /** @returns true where an alarm begins with this acquisition */
  add(pValue: number): boolean {
    const steps = this.#calibrationImages + 1;
    // Between two calibration images: its order among other images there is left to chance.
    const gap = Math.min(steps - 1, Math.max(0, Math.round(pValue * steps) - 1));
    const place = (gap + this.#random()) / steps;
    const before = this.#countBelow(place);
    const p = (gap + before + this.#random()) / (steps + this.#stream.length);
    this.#bet(Math.min(1, Math.max(P_MIN, p)));
    const wasAlarmed = this.#isAlarmed;
    this.#isAlarmed = this.evidence >= DRIFT_ALARM;
    // Images that may be drifting are no example for later ones.
    if (!this.#isAlarmed) this.#remember(place, before);
    return this.#isAlarmed && !wasAlarmed;
  }

  /** log10 of the mean wealth: 0 without any evidence of drift; an alarm from DRIFT_ALARM on. */
  get evidence(): number {
    const mean = this.#wealth.reduce((sum, wealth) => sum + wealth, 0) / this.#wealth.length;
    return Math.max(0, Math.log10(mean));
  }

  #bet(p: number): void {
    EXPONENTS.forEach((exponent, at) => {
      [p, Math.max(P_MIN, 1 - p)].forEach((value, side) => {
        const bet = exponent * value ** (exponent - 1);
        const wealth = Math.max(1, this.#wealth[2 * at + side]!) * bet;
        this.#wealth[2 * at + side] = Math.min(WEALTH_MAX, wealth);
      });
    });
  }

  #countBelow(place: number): number {
    let low = 0;
    let high = this.#stream.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#stream[middle]! < place) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #remember(place: number, at: number): void {
    if (this.#stream.length >= STREAM_MAX) this.#stream.length = 0;
    else this.#stream.splice(at, 0, place);
  }
}
