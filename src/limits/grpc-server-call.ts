/** The private members of grpc-js's server calls that `message-receiver.ts` uses. */
import type { ServerHttp2Stream } from 'node:http2';
import type { Metadata, ServerInterceptingCallInterface, status } from '@grpc/grpc-js';
import { SaladError } from '../errors/index.js';

/** The members used of grpc-js's innermost server call, `BaseServerInterceptingCall`. */
export interface ServerCall {
  readonly stream: ServerHttp2Stream;
  readonly handler: { deserialize(bytes: Buffer): object };
  readonly metadata: Metadata;
  readonly incomingEncoding: string;
  /** Set by `start`. */
  readonly listener: Listener | null;
  /** True once the call has a status, or its stream is closed. */
  checkCancelled(): boolean;
  sendStatus(end: { code: status; details: string; metadata: Metadata | null }): void;
  handleDataFrame(data: Buffer): void;
  handleEndEvent(): void;
  startRead(): void;
}

interface Listener {
  onReceiveMessage(message: object): void;
  onReceiveHalfClose(): void;
}

const USED_METHODS = [
  'checkCancelled',
  'sendStatus',
  'handleDataFrame',
  'handleEndEvent',
  'startRead',
] as const;

/** @throws SaladError INTERNAL where this version of grpc-js has other server calls */
export function serverCallOf(call: ServerInterceptingCallInterface): ServerCall {
  const inner = call as unknown as ServerCall;
  if (USED_METHODS.some((name) => typeof inner[name] !== 'function') || inner.stream === undefined) {
    throw new SaladError(
      'INTERNAL',
      'this version of @grpc/grpc-js is not supported: message limits cannot be applied to its server calls',
    );
  }
  return inner;
}
