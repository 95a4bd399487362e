/**
 * A bounded resource that peers share, such as bytes or connections. A peer may acquire more only while it holds at most
 * `ratio` times the free amount (dynamic thresholds, as in the shared memory of network switches). At a ratio of 1 a
 * single peer gets about half, two get a third each, n get 1 / (n + 1) each: the same amount is left for one more peer.
 */
export class Shares {
  private readonly heldBy = new Map<string, number>();
  private usedTotal = 0;

  /** @param ratio 0 means that one peer may acquire everything */
  constructor(
    readonly total: number,
    private readonly ratio: number,
  ) {}

  get used(): number {
    return this.usedTotal;
  }

  held(peer: string): number {
    return this.heldBy.get(peer) ?? 0;
  }

  /** Whether so much is free, for any peer. */
  hasRoom(amount: number): boolean {
    return this.usedTotal + amount <= this.total;
  }

  /** Whether the peer holds no more than its share. */
  isWithinShare(peer: string): boolean {
    return this.ratio === 0 || this.held(peer) <= this.ratio * (this.total - this.usedTotal);
  }

  /** @returns false where nothing was acquired: too little is free, or the peer is above its share */
  acquire(peer: string, amount: number): boolean {
    if (!this.hasRoom(amount) || !this.isWithinShare(peer)) return false;
    this.add(peer, amount);
    return true;
  }

  release(peer: string, amount: number): void {
    this.add(peer, -amount);
  }

  private add(peer: string, amount: number): void {
    this.usedTotal += amount;
    const held = this.held(peer) + amount;
    if (held === 0) this.heldBy.delete(peer);
    else this.heldBy.set(peer, held);
  }
}
