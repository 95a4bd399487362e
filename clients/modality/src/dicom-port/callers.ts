/** Who may send to the DICOM port. */
import type { Priority } from '../inbox/instance.js';

export interface Caller {
  readonly aeTitle: string;
  /** IP address that it must call from; any if left out. */
  readonly address?: string | undefined;
  /** `stat`: everything that it sends is scored first. */
  readonly priority: Priority;
}

/** @param remoteAddress as Node gives it, where IPv4 may be mapped into IPv6 */
export function findCaller(
  callers: readonly Caller[],
  aeTitle: string,
  remoteAddress: string | undefined,
): Caller | undefined {
  const address = remoteAddress?.replace(/^::ffff:/, '');
  return callers.find(
    (caller) => caller.aeTitle === aeTitle && (caller.address === undefined || caller.address === address),
  );
}
