/** Counts tiles by priority class and peer. */
export class TileCounts {
  private readonly classes: { total: number; readonly byPeer: Map<string, number> }[];

  /** @param ranks number of priority classes; rank 0 is the most urgent */
  constructor(ranks: number) {
    this.classes = Array.from({ length: ranks }, () => ({ total: 0, byPeer: new Map<string, number>() }));
  }

  add(rank: number, peer: string, change: number): void {
    const counts = this.classes[rank]!;
    counts.total += change;
    const count = (counts.byPeer.get(peer) ?? 0) + change;
    if (count === 0) counts.byPeer.delete(peer);
    else counts.byPeer.set(peer, count);
  }

  /** Number of tiles of a class. */
  total(rank: number): number {
    return this.classes[rank]!.total;
  }

  /** Number of tiles of a class and peer. */
  of(rank: number, peer: string): number {
    return this.classes[rank]!.byPeer.get(peer) ?? 0;
  }

  /** Number of peers with tiles of a class. */
  peers(rank: number): number {
    return this.classes[rank]!.byPeer.size;
  }
}
