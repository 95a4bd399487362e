/**
 * Limits the engine time of urgent tiles. Urgent tiles are served first, but while other tiles wait they get at most a
 * given share of the engine time in the long run.
 */
export class UrgentShare {
  /** Engine time of urgent batches beyond their share, in ms; falls while other batches run, never below 0. */
  private overdrawnMs = 0;

  /**
   * @param share in (0, 1]; 1 means no limit
   * @param burstMs engine time beyond the share that is allowed, so that one or two urgent images never wait
   */
  constructor(
    readonly share: number,
    private readonly burstMs: number = BURST_MS,
  ) {}

  /** Whether other tiles are served first. */
  get isUsedUp(): boolean {
    return this.overdrawnMs > this.burstMs;
  }

  /** Counts a batch that ran. @param othersWait whether tiles of other classes wait in the queue or in a worker */
  count(isUrgent: boolean, engineMs: number, othersWait: boolean): void {
    const change = isUrgent && othersWait ? (1 - this.share) * engineMs : -this.share * engineMs;
    this.overdrawnMs = Math.max(0, this.overdrawnMs + change);
  }
}

const BURST_MS = 250;
