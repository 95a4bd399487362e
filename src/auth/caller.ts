/** Who has made a call, for all who hold its metadata. */
import type { Metadata } from '@grpc/grpc-js';
import type { Identity } from './identity.js';

export interface Caller {
  readonly identity: Identity;
  /** What limits count by: an identity, or where nobody has to identify itself, an address. */
  readonly peer: string;
}

const CALLERS = new WeakMap<Metadata, Caller>();

export function setCaller(metadata: Metadata, caller: Caller): void {
  CALLERS.set(metadata, caller);
}

/** Undefined for calls that nobody has to identify itself for. */
export function callerOf(metadata: Metadata): Caller | undefined {
  return CALLERS.get(metadata);
}
