/** Stores the caller of a call by the call's metadata, which interceptors and handlers share. */
import type { Metadata } from '@grpc/grpc-js';
import type { Identity } from './identity.js';

export interface Caller {
  readonly identity: Identity;
  /** Key of the caller in limits: its identity, or where no credentials are needed, its address. */
  readonly peer: string;
}

const CALLERS = new WeakMap<Metadata, Caller>();

export function setCaller(metadata: Metadata, caller: Caller): void {
  CALLERS.set(metadata, caller);
}

/** @returns undefined for calls that need no identity */
export function callerOf(metadata: Metadata): Caller | undefined {
  return CALLERS.get(metadata);
}
