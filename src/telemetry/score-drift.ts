/**
 * Whether recent images score like those the model was calibrated on: their conformal p-values are then uniform.
 * Judged for each model over all clients of this server together, so it is told to those who run the server, by metric
 * and log, and in no answer: what one client sends must not change what another is told.
 */

/** Acquisitions that are judged together. */
const WINDOW = 500;
/** No verdict on fewer. */
const MIN_SAMPLES = 100;
/** Acquisitions between two checks: a check sorts the window. */
const CHECK_INTERVAL = 20;
/** Kolmogorov-Smirnov at alpha = 0.1 %: sqrt(-ln(alpha / 2) / 2). */
const KS_CRITICAL_VALUE = 1.95;

export class ScoreDrift {
  /** p-values in (0, 1], the newest overwriting the oldest. */
  private readonly recent: number[] = [];
  private next = 0;
  private isAbove = false;

  /** @returns true where drift begins with this acquisition */
  add(pValue: number): boolean {
    this.recent[this.next] = pValue;
    this.next = (this.next + 1) % WINDOW;
    if (this.next % CHECK_INTERVAL !== 0) return false;
    const wasAbove = this.isAbove;
    this.isAbove = this.distance > KS_CRITICAL_VALUE / Math.sqrt(WINDOW);
    return this.isAbove && !wasAbove;
  }

  /**
   * Kolmogorov-Smirnov distance between the recent p-values and the uniform distribution, 0 to 1; 0 where there are
   * too few. That of n values counts by the root of n / 500, so that one threshold is as unlikely to be passed by
   * chance however many there are. Conformal p-values of n calibration images are multiples of 1/(n + 1), so about
   * that much of it is theirs.
   */
  get distance(): number {
    if (this.recent.length < MIN_SAMPLES) return 0;
    const sorted = [...this.recent].sort((a, b) => a - b);
    let distance = 0;
    let below = 0;
    sorted.forEach((value, index) => {
      // Ties: the empirical distribution steps once, from the first to the last of them.
      if (sorted[index + 1] === value) return;
      const upTo = (index + 1) / sorted.length;
      distance = Math.max(distance, upTo - value, value - below);
      below = upTo;
    });
    return distance * Math.sqrt(sorted.length / WINDOW);
  }
}
