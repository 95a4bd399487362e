/** A circular list whose members take turns. All operations are O(1). */
export interface RingItem {
  /** Owned by the ring. */
  previous: this | undefined;
  next: this | undefined;
}

export class Ring<T extends RingItem> {
  /** Whose turn it is. */
  private turn: T | undefined;

  get isEmpty(): boolean {
    return this.turn === undefined;
  }

  /** Joins as the last. */
  add(item: T): void {
    if (this.turn === undefined) {
      item.previous = item;
      item.next = item;
      this.turn = item;
      return;
    }
    const last = this.turn.previous!;
    last.next = item;
    item.previous = last;
    item.next = this.turn;
    this.turn.previous = item;
  }

  remove(item: T): void {
    if (item.next === item) {
      this.turn = undefined;
    } else {
      if (this.turn === item) this.turn = item.next;
      item.previous!.next = item.next;
      item.next!.previous = item.previous;
    }
    item.previous = undefined;
    item.next = undefined;
  }

  /** The member whose turn it is; the next one's comes. */
  advance(): T | undefined {
    const item = this.turn;
    this.turn = item?.next;
    return item;
  }
}
