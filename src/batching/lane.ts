/** Selects among the streams of one model and one priority class that have queued tiles. */
import { type HeapItem, IndexedHeap } from './indexed-heap.js';
import { RoundRobin, type RoundRobinItem } from './round-robin.js';

/** Fields of a stream that a lane uses. */
export interface LaneStream extends HeapItem, RoundRobinItem {
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
 * `add`, `remove` and `pick` are O(1), or O(log n) for streams with a deadline; `earliestDeadline` and `expired` are
 * O(peers).
 */
export class Lane<S extends LaneStream> {
  private readonly peers = new Map<string, PeerStreams<S>>();
  private readonly peerTurns = new RoundRobin<PeerStreams<S>>();

  constructor(private readonly urgencyHorizonMs: number) {}

  get isEmpty(): boolean {
    return this.peerTurns.isEmpty;
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
      this.peerTurns.add(peer);
    }
    peer.add(stream);
  }

  remove(stream: S): void {
    const peer = this.peers.get(stream.peer);
    if (peer === undefined) return;
    peer.remove(stream);
    if (!peer.isEmpty) return;
    this.peers.delete(stream.peer);
    this.peerTurns.remove(peer);
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
    return this.peerTurns.advance()?.pick(now, this.urgencyHorizonMs);
  }
}

class PeerStreams<S extends LaneStream> implements RoundRobinItem {
  previous: this | undefined;
  next: this | undefined;
  private readonly byDeadline = new IndexedHeap<S>((a, b) => a.deadline < b.deadline);
  private readonly turns = new RoundRobin<S>();
  private picks = 0;

  get isEmpty(): boolean {
    return this.turns.isEmpty;
  }

  get earliestDeadline(): number {
    return this.byDeadline.peek()?.deadline ?? Number.POSITIVE_INFINITY;
  }

  add(stream: S): void {
    if (stream.deadline !== Number.POSITIVE_INFINITY) this.byDeadline.push(stream);
    this.turns.add(stream);
  }

  remove(stream: S): void {
    this.byDeadline.remove(stream);
    this.turns.remove(stream);
  }

  expired(now: number): S | undefined {
    const earliest = this.byDeadline.peek();
    return earliest !== undefined && earliest.deadline <= now ? earliest : undefined;
  }

  /** A selection by deadline does not use up a turn. */
  pick(now: number, urgencyHorizonMs: number): S | undefined {
    this.picks += 1;
    const earliest = this.byDeadline.peek();
    const isRoundRobinTurn = this.picks % ROUND_ROBIN_EVERY === 0;
    if (!isRoundRobinTurn && earliest !== undefined && earliest.deadline - now < urgencyHorizonMs)
      return earliest;
    return this.turns.advance();
  }
}
