/** Runs asynchronous work one after another, in the order of the calls. */
export class SerialQueue {
  private last: Promise<void> = Promise.resolve();

  /** Runs `work` after all earlier work, also where that failed. @returns its result; rejects as `work` does */
  run<T>(work: () => Promise<T>): Promise<T> {
    const result = this.last.then(work);
    this.last = result.then(
      () => {},
      () => {},
    );
    return result;
  }

  /** Resolves when all work that was queued before this call has ended. Never rejects. */
  async drained(): Promise<void> {
    await this.last;
  }
}
