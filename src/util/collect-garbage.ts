/** Collects the garbage of the calling thread at once; V8 itself collects only as it allocates. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

let collect: (() => void) | undefined;

/** Takes some tens of milliseconds in a large heap. */
export function collectGarbage(): void {
  if (collect === undefined) {
    // Node provides `gc` to new contexts once this flag is set, at the start or later.
    setFlagsFromString('--expose-gc');
    collect = runInNewContext('gc') as () => void;
  }
  collect();
}
