/** One waiter, many openers: opening twice before a wait counts once. */
export class Latch {
  private isOpen = false;
  private resolve: (() => void) | undefined;

  open(): void {
    if (this.resolve === undefined) {
      this.isOpen = true;
      return;
    }
    const resolve = this.resolve;
    this.resolve = undefined;
    resolve();
  }

  /** Resolves at the next `open`, or at once where one came since the last wait. */
  wait(): Promise<void> {
    if (this.isOpen) {
      this.isOpen = false;
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      this.resolve = resolve;
    });
  }
}
