/** Lets one caller wait until another calls `open`. Several calls of `open` before a wait count as one. */
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

  /** Resolves at the next `open`, or at once where `open` was called since the last wait. */
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
