/** All limits of a port that hold before a handler sees a call, put together. */
import type { Http2SecureServer, Http2Server } from 'node:http2';
import { type Metadata, type ServerInterceptor, status } from '@grpc/grpc-js';
import type { SaladError } from '../errors/index.js';
import type { Logger } from '../telemetry/logger.js';
import type { Telemetry } from '../telemetry/telemetry.js';
import { codeOf } from '../wire/status.js';
import { Gate } from './gate.js';
import { intakeInterceptor } from './intake.js';
import type { MethodLimits } from './methods.js';
import type { Rates } from './rates.js';
import { ReceiveWindows } from './receive-windows.js';
import { ReceivedBytes } from './received-bytes.js';
import { Turns } from './turns.js';

export interface PortLimitsOptions {
  /** Who calls, by the metadata of a call: an identity; undefined for those that are counted by address. */
  readonly peerOf: (metadata: Metadata) => string | undefined;
  /** By path. */
  readonly limitsOf: (path: string) => MethodLimits;
  readonly maxConnections: number;
  readonly maxReceivedBytes: number;
  readonly maxPendingBytes: number;
  readonly receiveWindowBytes: number;
  readonly peerShareRatio: number;
  /** Of calls, by address. */
  readonly rates: Rates;
  readonly retryDelayMs: number;
  readonly logger: Logger;
  readonly telemetry?: Telemetry;
}

/** In metrics: what callers write is no name there. */
const ANY_METHOD = '_OTHER';

export class PortLimits {
  /** For the server's options: the first interceptor, nearest to the wire. */
  readonly interceptor: ServerInterceptor;
  private readonly received: ReceivedBytes;
  private readonly gate: Gate;
  private readonly windows: ReceiveWindows;

  constructor(options: PortLimitsOptions) {
    this.received = new ReceivedBytes(options.maxReceivedBytes, options.peerShareRatio);
    this.interceptor = intakeInterceptor({
      ...options,
      received: this.received,
      turns: new Turns(),
    });
    this.gate = new Gate({ ...options, onRefused: (error, peer) => refused(options, error, peer) });
    this.windows = new ReceiveWindows({ windowBytes: options.receiveWindowBytes });
  }

  /** Of request messages that come, are decoded or wait for their handler. */
  get receivedBytes(): number {
    return this.received.taken;
  }

  /** To be called for every HTTP/2 server of the port before it listens. */
  watch(server: Http2Server | Http2SecureServer): void {
    this.gate.watch(server);
    this.windows.watch(server);
  }
}

function refused({ logger, telemetry }: PortLimitsOptions, error: SaladError, peer: string): void {
  logger.debug({ reason: error.reason, peer }, error.message);
  telemetry?.callEnded(ANY_METHOD, status[codeOf(error)], 0);
}
