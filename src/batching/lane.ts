/** The streams of one model and one priority class that have tiles waiting. */
import { type HeapItem, IndexedHeap } from './indexed-heap.js';

/** What the lane keeps of a stream; the policy's stream extends it. */
export interface LaneStream extends HeapItem {
  /** Absolute, in ms of the injected clock; Infinity without one. */
  readonly deadline: number;
  previous: this | undefined;
  next: this | undefined;
}

/**
 * Every this many picks, the turn goes by the ring whatever the deadlines: a flow of urgent streams can take
 * at most (n - 1)/n of a class, so nothing starves inside one.
 */
export const RING_TURN_EVERY = 8;

/**
 * Whose tile goes next inside a class. While everybody has slack, streams take turns (ring): one big study
 * cannot starve a small one. A stream whose deadline is nearer than the horizon goes first, the earliest
 * deadline before the others.
 *
 * All operations are O(1), or O(log n) for streams with a deadline.
 */
export class Lane<S extends LaneStream> {
  private readonly byDeadline = new IndexedHeap<S>((a, b) => a.deadline < b.deadline);
  /** Circular list; `turn` is who is next. */
  private turn: S | undefined;
  private picks = 0;
  private streamCount = 0;

  constructor(private readonly urgencyHorizonMs: number) {}

  get isEmpty(): boolean {
    return this.streamCount === 0;
  }

  get earliestDeadline(): number {
    return this.byDeadline.peek()?.deadline ?? Number.POSITIVE_INFINITY;
  }

  /** Joins at the end of the ring. */
  add(stream: S): void {
    this.streamCount += 1;
    if (stream.deadline !== Number.POSITIVE_INFINITY) this.byDeadline.push(stream);
    if (this.turn === undefined) {
      stream.previous = stream;
      stream.next = stream;
      this.turn = stream;
      return;
    }
    const last = this.turn.previous!;
    last.next = stream;
    stream.previous = last;
    stream.next = this.turn;
    this.turn.previous = stream;
  }

  remove(stream: S): void {
    this.streamCount -= 1;
    this.byDeadline.remove(stream);
    if (stream.next === stream) {
      this.turn = undefined;
    } else {
      if (this.turn === stream) this.turn = stream.next;
      stream.previous!.next = stream.next;
      stream.next!.previous = stream.previous;
    }
    stream.previous = undefined;
    stream.next = undefined;
  }

  /** A stream whose deadline has passed, if any. */
  expired(now: number): S | undefined {
    const earliest = this.byDeadline.peek();
    return earliest !== undefined && earliest.deadline <= now ? earliest : undefined;
  }

  /** The stream to take one tile from. Its turn in the ring is over only where it was the ring that chose. */
  pick(now: number): S | undefined {
    const inTurn = this.turn;
    if (inTurn === undefined) return undefined;
    this.picks += 1;
    const earliest = this.byDeadline.peek();
    const ringTurn = this.picks % RING_TURN_EVERY === 0;
    if (!ringTurn && earliest !== undefined && earliest.deadline - now < this.urgencyHorizonMs)
      return earliest;
    this.turn = inTurn.next;
    return inTurn;
  }
}
