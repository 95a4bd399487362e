/**
 * Bounds what urgent tiles take from the others: they go first, but while others wait they get no more than a share of
 * the engines' time in the long run. Pure: it is told what ran.
 */
export class StatShare {
  /** Engine time that urgent batches had beyond their share while others waited, in ms. */
  private overdrawnMs = 0;

  /**
   * @param share in (0, 1]; 1 means no bound
   * @param burstMs an urgent image or two never wait: only more than this beyond the share does
   */
  constructor(
    readonly share: number,
    private readonly burstMs: number = BURST_MS,
  ) {}

  /** The others go first now. */
  get isUsedUp(): boolean {
    return this.overdrawnMs > this.burstMs;
  }

  /** @param othersWait tiles of other classes are queued or in a worker's queue */
  ran(isUrgent: boolean, engineMs: number, othersWait: boolean): void {
    const change = isUrgent && othersWait ? (1 - this.share) * engineMs : -this.share * engineMs;
    this.overdrawnMs = Math.max(0, this.overdrawnMs + change);
  }
}

const BURST_MS = 250;
