/** Tiles by peer, for each of several priority classes. */
export class TileCounts {
  private readonly classes: { total: number; readonly byPeer: Map<string, number> }[];

  /** @param ranks number of priority classes, 0 the most urgent */
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

  total(rank: number): number {
    return this.classes[rank]!.total;
  }

  of(rank: number, peer: string): number {
    return this.classes[rank]!.byPeer.get(peer) ?? 0;
  }

  /** Peers of a class that have tiles. */
  peers(rank: number): number {
    return this.classes[rank]!.byPeer.size;
  }
}
