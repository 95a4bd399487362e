/**
 * A bounded resource that peers share, such as bytes or connections. A peer may take more only while it holds at most
 * `ratio` times what is free (dynamic thresholds, as in the shared memory of network switches). At a ratio of 1 a
 * single peer gets about half, two get a third each, n get 1 / (n + 1) each: something is left for one more peer.
 */
export class Shares {
  private readonly heldBy = new Map<string, number>();
  private takenTotal = 0;

  /** @param ratio 0 means that one peer may take all */
  constructor(
    readonly total: number,
    private readonly ratio: number,
  ) {}

  get taken(): number {
    return this.takenTotal;
  }

  held(peer: string): number {
    return this.heldBy.get(peer) ?? 0;
  }

  /** Where there is room for anybody. */
  hasRoom(amount: number): boolean {
    return this.takenTotal + amount <= this.total;
  }

  /** Where the peer holds no more than its share. */
  isWithinShare(peer: string): boolean {
    return this.ratio === 0 || this.held(peer) <= this.ratio * (this.total - this.takenTotal);
  }

  /** @returns false where nothing was taken */
  take(peer: string, amount: number): boolean {
    if (!this.hasRoom(amount) || !this.isWithinShare(peer)) return false;
    this.add(peer, amount);
    return true;
  }

  give(peer: string, amount: number): void {
    this.add(peer, -amount);
  }

  private add(peer: string, amount: number): void {
    this.takenTotal += amount;
    const held = this.held(peer) + amount;
    if (held === 0) this.heldBy.delete(peer);
    else this.heldBy.set(peer, held);
  }
}
