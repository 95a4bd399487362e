/**
 * Detects score drift: recent images no longer score like the calibration images. Without drift, the conformal
 * p-values of the image scores are uniformly distributed. Each model has one window for all clients of the server. The
 * result therefore appears only in a metric and in the log, never in an answer: the images of one client must not change
 * the answers to another.
 */

/** Number of acquisitions in the window. */
const WINDOW = 500;
/** With fewer acquisitions the distance is 0. */
const MIN_SAMPLES = 100;
/** Number of acquisitions between two checks; not every one, because a check sorts the window. */
const CHECK_INTERVAL = 20;
/** Of the Kolmogorov-Smirnov test at alpha = 0.1 %: sqrt(-ln(alpha / 2) / 2). */
const KS_CRITICAL_VALUE = 1.95;

export class ScoreDrift {
  /** In (0, 1]; a ring buffer: the newest overwrites the oldest. */
  private readonly pValues: number[] = [];
  private nextIndex = 0;
  private isAbove = false;

  /** @returns true if the drift begins with this acquisition */
  add(pValue: number): boolean {
    this.pValues[this.nextIndex] = pValue;
    this.nextIndex = (this.nextIndex + 1) % WINDOW;
    if (this.nextIndex % CHECK_INTERVAL !== 0) return false;
    const wasAbove = this.isAbove;
    this.isAbove = this.distance > KS_CRITICAL_VALUE / Math.sqrt(WINDOW);
    return this.isAbove && !wasAbove;
  }

  /**
   * Kolmogorov-Smirnov distance between the recent p-values and the uniform distribution, 0 to 1; 0 below MIN_SAMPLES.
   * The distance of n values is multiplied by sqrt(n / 500), so that one threshold has the same false-alarm rate for
   * every n. With n calibration images, conformal p-values are multiples of 1/(n + 1), which adds about 1/(n + 1) to the
   * distance.
   */
  get distance(): number {
    if (this.pValues.length < MIN_SAMPLES) return 0;
    const sorted = [...this.pValues].sort((a, b) => a - b);
    let distance = 0;
    let shareBelow = 0;
    sorted.forEach((value, index) => {
      // The empirical distribution has one step for equal values: skip all but the last of them.
      if (sorted[index + 1] === value) return;
      const shareUpTo = (index + 1) / sorted.length;
      distance = Math.max(distance, shareUpTo - value, value - shareBelow);
      shareBelow = shareUpTo;
    });
    return distance * Math.sqrt(sorted.length / WINDOW);
  }
}
