/** An item of a `RoundRobin`. */
export interface RoundRobinItem {
  /** Only the round-robin list changes these. */
  previous: this | undefined;
  next: this | undefined;
}

/** A circular list that returns its items in turn. All operations are O(1). */
export class RoundRobin<T extends RoundRobinItem> {
  /** The item that `advance` returns next. */
  private head: T | undefined;

  get isEmpty(): boolean {
    return this.head === undefined;
  }

  /** Adds an item after all others. */
  add(item: T): void {
    if (this.head === undefined) {
      item.previous = item;
      item.next = item;
      this.head = item;
      return;
    }
    const last = this.head.previous!;
    last.next = item;
    item.previous = last;
    item.next = this.head;
    this.head.previous = item;
  }

  remove(item: T): void {
    if (item.next === item) {
      this.head = undefined;
    } else {
      if (this.head === item) this.head = item.next;
      item.previous!.next = item.next;
      item.next!.previous = item.previous;
    }
    item.previous = undefined;
    item.next = undefined;
  }

  /** Returns the item whose turn it is, and moves on to the next one. */
  advance(): T | undefined {
    const item = this.head;
    this.head = item?.next;
    return item;
  }
}
