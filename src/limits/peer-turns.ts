/** Work that waits, by peer. Peers are served in turn, the work of a peer in the order in which it came. */
export class PeerTurns<Work> {
  /** The first peer of the map is served next. */
  private readonly waiting = new Map<string, Work[]>();
  private waitingCount = 0;

  /** Number of waiting pieces of work. */
  get count(): number {
    return this.waitingCount;
  }

  add(peer: string, work: Work): void {
    const works = this.waiting.get(peer);
    if (works === undefined) this.waiting.set(peer, [work]);
    else works.push(work);
    this.waitingCount += 1;
  }

  /**
   * Takes the oldest work of the next peer, whose next turn comes after those of all others.
   * @param skips peers that are not served now
   */
  take(skips?: ReadonlySet<string>): { readonly peer: string; readonly work: Work } | undefined {
    for (const [peer, works] of this.waiting) {
      if (skips?.has(peer)) continue;
      const work = works.shift() as Work;
      this.waiting.delete(peer);
      if (works.length > 0) this.waiting.set(peer, works);
      this.waitingCount -= 1;
      return { peer, work };
    }
    return undefined;
  }
}
