/** An item of an `IndexedHeap`. It stores its index, so that the removal of any item is O(log n). */
export interface HeapItem {
  /** Index in the heap; -1 outside a heap. Only the heap changes it. */
  heapIndex: number;
}

/** A binary min-heap. `push` and `remove` are O(log n), `peek` is O(1). */
export class IndexedHeap<T extends HeapItem> {
  private readonly items: T[] = [];

  /** @param before strict order: true if `a` comes before `b` */
  constructor(private readonly before: (a: T, b: T) => boolean) {}

  get size(): number {
    return this.items.length;
  }

  peek(): T | undefined {
    return this.items[0];
  }

  push(item: T): void {
    item.heapIndex = this.items.length;
    this.items.push(item);
    this.rise(item.heapIndex);
  }

  /** Does nothing if the item is not in the heap. */
  remove(item: T): void {
    const index = item.heapIndex;
    if (index < 0) return;
    item.heapIndex = -1;
    const last = this.items.pop();
    if (last === undefined || last === item) return;
    this.place(last, index);
    this.rise(index);
    this.sink(last.heapIndex);
  }

  private place(item: T, index: number): void {
    this.items[index] = item;
    item.heapIndex = index;
  }

  private rise(start: number): void {
    const item = this.items[start]!;
    let index = start;
    while (index > 0) {
      const above = (index - 1) >> 1;
      const parent = this.items[above]!;
      if (!this.before(item, parent)) break;
      this.place(parent, index);
      index = above;
    }
    this.place(item, index);
  }

  private sink(start: number): void {
    const item = this.items[start]!;
    let index = start;
    for (;;) {
      const left = 2 * index + 1;
      if (left >= this.items.length) break;
      const right = left + 1;
      const smaller =
        right < this.items.length && this.before(this.items[right]!, this.items[left]!) ? right : left;
      const child = this.items[smaller]!;
      if (!this.before(child, item)) break;
      this.place(child, index);
      index = smaller;
    }
    this.place(item, index);
  }
}
