/** The streams of one model and one priority class that have tiles waiting. */
import { type HeapItem, IndexedHeap } from './indexed-heap.js';
import { Ring, type RingItem } from './ring.js';

/** What the lane keeps of a stream; the policy's stream extends it. */
export interface LaneStream extends HeapItem, RingItem {
  /** Whose stream it is. */
  readonly peer: string;
  /** Absolute, in ms of the injected clock; Infinity without one. */
  readonly deadline: number;
}

/**
 * Every this many picks of a peer's streams, the turn goes by the ring whatever the deadlines: a flow of urgent streams
 * can take at most (n - 1)/n of what the peer gets, so nothing starves.
 */
export const RING_TURN_EVERY = 8;

/**
 * Chooses the stream of the next tile inside a class. Peers take turns, and so do the streams of a peer: neither a peer
 * with many streams nor a stream with many tiles starves the others. A stream whose deadline is nearer than the horizon
 * goes before the others of its peer, the earliest deadline first.
 *
 * `add`, `remove` and `pick` are O(1), or O(log n) for streams with a deadline; what looks for deadlines is O(peers).
 */
export class Lane<S extends LaneStream> {
  private readonly peers = new Map<string, PeerStreams<S>>();
  private readonly turns = new Ring<PeerStreams<S>>();

  constructor(private readonly urgencyHorizonMs: number) {}

  get isEmpty(): boolean {
    return this.turns.isEmpty;
  }

  get earliestDeadline(): number {
    let earliest = Number.POSITIVE_INFINITY;
    for (const { earliestDeadline } of this.peers.values()) earliest = Math.min(earliest, earliestDeadline);
    return earliest;
  }

  /** Joins at the end of its peer's ring. */
  add(stream: S): void {
    let peer = this.peers.get(stream.peer);
    if (peer === undefined) {
      peer = new PeerStreams<S>();
      this.peers.set(stream.peer, peer);
      this.turns.add(peer);
    }
    peer.add(stream);
  }

  remove(stream: S): void {
    const peer = this.peers.get(stream.peer);
    if (peer === undefined) return;
    peer.remove(stream);
    if (!peer.isEmpty) return;
    this.peers.delete(stream.peer);
    this.turns.remove(peer);
  }

  /** A stream whose deadline has passed, if any. */
  expired(now: number): S | undefined {
    for (const peer of this.peers.values()) {
      const stream = peer.expired(now);
      if (stream !== undefined) return stream;
    }
    return undefined;
  }

  /** The stream to take one tile from. */
  pick(now: number): S | undefined {
    return this.turns.advance()?.pick(now, this.urgencyHorizonMs);
  }
}

class PeerStreams<S extends LaneStream> implements RingItem {
  previous: this | undefined;
  next: this | undefined;
  private readonly byDeadline = new IndexedHeap<S>((a, b) => a.deadline < b.deadline);
  private readonly turns = new Ring<S>();
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

  /** A stream's turn in the ring is over only where it was the ring that chose. */
  pick(now: number, urgencyHorizonMs: number): S | undefined {
    this.picks += 1;
    const earliest = this.byDeadline.peek();
    const ringTurn = this.picks % RING_TURN_EVERY === 0;
    if (!ringTurn && earliest !== undefined && earliest.deadline - now < urgencyHorizonMs) return earliest;
    return this.turns.advance();
  }
}
