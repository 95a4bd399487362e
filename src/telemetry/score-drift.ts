/**
 * Detects drift: recent images have other scores than those that the model was calibrated on. A sequential test with a
 * stated rate of false alarms (docs/explanation/drift.md). It uses the images of all clients of this server, for each model
 * separately. The result is reported to the operator by metric and log, and is in no answer, because images of one client
 * must not change the answers to another.
 */
import { createRandom } from '../util/random.js';

/** Exponents e of the bets e p^(e-1) on small p-values, and on large ones. A lower e is a larger bet. */
const EXPONENTS = [0.5, 0.7, 0.85] as const;
/** log10 of the mean wealth of the bets that raises an alarm: on average at most one false alarm in 10^4 images. */
export const DRIFT_ALARM = 4;
/** Upper limit of the wealth, so that an alarm ends soon after the drift has ended. */
const WEALTH_MAX = 1e6;
/** Most earlier images with which an image is ranked; after that the stream restarts. */
const STREAM_MAX = 10_000;
/** Smallest p-value, so that a bet is finite. */
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
    // The image lies between two calibration images; its order among other images there is random.
    const gap = Math.min(steps - 1, Math.max(0, Math.round(pValue * steps) - 1));
    const place = (gap + this.#random()) / steps;
    const before = this.#countBelow(place);
    const p = (gap + before + this.#random()) / (steps + this.#stream.length);
    this.#bet(Math.min(1, Math.max(P_MIN, p)));
    const wasAlarmed = this.#isAlarmed;
    this.#isAlarmed = this.evidence >= DRIFT_ALARM;
    // Images during an alarm may have drifted, so later images are not ranked with them.
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
