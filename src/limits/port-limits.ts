/** Applies all limits of a port that precede the handlers: connections, calls, windows and messages. */
import type { Http2SecureServer, Http2Server } from 'node:http2';
import { type Metadata, type ServerInterceptor, status } from '@grpc/grpc-js';
import type { SaladError } from '../errors/index.js';
import type { Logger } from '../telemetry/logger.js';
import type { Telemetry } from '../telemetry/telemetry.js';
import { codeOf } from '../wire/status.js';
import { Http2Filter } from './http2-filter.js';
import { messageReceiverInterceptor } from './message-receiver.js';
import type { MethodLimits } from './method-limits.js';
import type { RateLimiter } from './rate-limiter.js';
import { ReceiveBudget } from './receive-budget.js';
import { ReceiveWindows } from './receive-windows.js';
import { TurnScheduler } from './turn-scheduler.js';

export interface PortLimitsOptions {
  /** The caller's identity, by the metadata of a call; undefined for calls that are counted by address. */
  readonly peerOf: (metadata: Metadata) => string | undefined;
  /** Limits of a method, by its path. */
  readonly limitsOf: (path: string) => MethodLimits;
  readonly maxConnections: number;
  readonly maxReceivedBytes: number;
  readonly maxPendingBytes: number;
  readonly receiveWindowBytes: number;
  readonly peerShareRatio: number;
  /** Calls a second, by address. */
  readonly rateLimiter: RateLimiter;
  readonly retryDelayMs: number;
  readonly logger: Logger;
  readonly telemetry?: Telemetry;
}

/**
 * Time of a turn after which new calls wait for the next one, in ms. Longer than that of messages, which come later in the
 * same turn and count too: only very many calls at once are to wait.
 */
const CALLS_TURN_MS = 20;
/** Method in the metrics of a refused call: paths are chosen by callers and would create a time series each. */
const OTHER_METHOD = '_OTHER';

export class PortLimits {
  /** For the server's options: must be the first interceptor. */
  readonly interceptor: ServerInterceptor;
  private readonly budget: ReceiveBudget;
  private readonly filter: Http2Filter;
  private readonly windows: ReceiveWindows;

  constructor(options: PortLimitsOptions) {
    this.budget = new ReceiveBudget(options.maxReceivedBytes, options.peerShareRatio);
    this.interceptor = messageReceiverInterceptor({
      ...options,
      budget: this.budget,
      scheduler: new TurnScheduler(),
    });
    this.filter = new Http2Filter({
      ...options,
      scheduler: new TurnScheduler({ turnMs: CALLS_TURN_MS }),
      onRefused: (error, peer) => recordRefusal(options, error, peer),
    });
    this.windows = new ReceiveWindows({ windowBytes: options.receiveWindowBytes });
  }

  /** Bytes reserved for request messages that are being received, are being decoded, or wait for their handler. */
  get receivedBytes(): number {
    return this.budget.reservedBytes;
  }

  /** To be called for every HTTP/2 server of the port before it listens. */
  watch(server: Http2Server | Http2SecureServer): void {
    this.filter.watch(server);
    this.windows.watch(server);
  }
}

function recordRefusal({ logger, telemetry }: PortLimitsOptions, error: SaladError, peer: string): void {
  logger.debug({ reason: error.reason, peer }, error.message);
  telemetry?.callEnded(OTHER_METHOD, status[codeOf(error)], 0);
}
