/** Selects among the streams of one model and one priority class that have queued tiles. */

/** Fields of a stream that a lane uses. */
export interface LaneStream {
  /** Peer that the stream belongs to. */
  readonly peer: string;
  /** Absolute, in ms of the injected clock; Infinity without a deadline. */
  readonly deadline: number;
}

/**
 * Every n-th selection among the streams of a peer ignores deadlines, so that streams with near deadlines get at most
 * (n - 1)/n of the peer's tiles and no stream starves.
 */
export const ROUND_ROBIN_EVERY = 8;

/**
 * Selects the stream of the next tile within a class. Peers are served in turn, and so are the streams of a peer, so
 * that neither a peer with many streams nor a stream with many tiles starves the others. A stream whose deadline is
 * nearer than the horizon is served before the other streams of its peer, the earliest deadline first.
 *
 * `pick` is O(1); `add` and `remove` move the elements of an array, but are called once for many tiles;
 * `earliestDeadline` and `expired` are O(peers).
 */
export class Lane<S extends LaneStream> {
  private readonly peers = new Map<string, PeerStreams<S>>();
  private readonly peerTurns: PeerStreams<S>[] = [];

  constructor(private readonly urgencyHorizonMs: number) {}

  get isEmpty(): boolean {
    return this.peerTurns.length === 0;
  }

  get earliestDeadline(): number {
    let earliest = Number.POSITIVE_INFINITY;
    for (const { earliestDeadline } of this.peers.values()) earliest = Math.min(earliest, earliestDeadline);
    return earliest;
  }

  /** Adds a stream after the other streams of its peer. */
  add(stream: S): void {
    let peer = this.peers.get(stream.peer);
    if (peer === undefined) {
      peer = new PeerStreams<S>();
      this.peers.set(stream.peer, peer);
      this.peerTurns.push(peer);
    }
    peer.add(stream);
  }

  remove(stream: S): void {
    const peer = this.peers.get(stream.peer);
    if (peer === undefined) return;
    peer.remove(stream);
    if (!peer.isEmpty) return;
    this.peers.delete(stream.peer);
    removeFrom(this.peerTurns, peer);
  }

  /** Returns a stream whose deadline has passed, if there is one. */
  expired(now: number): S | undefined {
    for (const peer of this.peers.values()) {
      const stream = peer.expired(now);
      if (stream !== undefined) return stream;
    }
    return undefined;
  }

  /** Returns the stream of the next tile. */
  pick(now: number): S | undefined {
    return advance(this.peerTurns)?.pick(now, this.urgencyHorizonMs);
  }
}

class PeerStreams<S extends LaneStream> {
  /** Streams with a deadline, the earliest first. */
  private readonly byDeadline: S[] = [];
  /** All streams, in turn. */
  private readonly turns: S[] = [];
  private picks = 0;

  get isEmpty(): boolean {
    return this.turns.length === 0;
  }

  get earliestDeadline(): number {
    return this.byDeadline[0]?.deadline ?? Number.POSITIVE_INFINITY;
  }

  add(stream: S): void {
    if (stream.deadline !== Number.POSITIVE_INFINITY) {
      this.byDeadline.splice(indexOfDeadline(this.byDeadline, stream.deadline), 0, stream);
    }
    this.turns.push(stream);
  }

  remove(stream: S): void {
    if (stream.deadline !== Number.POSITIVE_INFINITY) {
      const index = this.byDeadline.indexOf(stream, indexOfDeadline(this.byDeadline, stream.deadline));
      this.byDeadline.splice(index, 1);
    }
    removeFrom(this.turns, stream);
  }

  expired(now: number): S | undefined {
    const [earliest] = this.byDeadline;
    return earliest !== undefined && earliest.deadline <= now ? earliest : undefined;
  }

  /** A selection by deadline does not use up a turn. */
  pick(now: number, urgencyHorizonMs: number): S | undefined {
    this.picks += 1;
    const [earliest] = this.byDeadline;
    const isRoundRobinTurn = this.picks % ROUND_ROBIN_EVERY === 0;
    if (!isRoundRobinTurn && earliest !== undefined && earliest.deadline - now < urgencyHorizonMs)
      return earliest;
    return advance(this.turns);
  }
}

/** @returns the index of the first stream whose deadline is not before this one, by binary search */
function indexOfDeadline(streams: readonly LaneStream[], deadline: number): number {
  let [low, high] = [0, streams.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (streams[middle]!.deadline < deadline) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Returns the item whose turn it is; its next turn comes after those of all others. */
function advance<T>(turns: T[]): T | undefined {
  const item = turns.shift();
  if (item !== undefined) turns.push(item);
  return item;
}

/** Searches from the end, where the items are that had their turn last: those whose last tile was taken. */
function removeFrom<T>(turns: T[], item: T): void {
  turns.splice(turns.lastIndexOf(item), 1);
}
