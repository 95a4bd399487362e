/** The one place where a call is let in: who it is, what it may, how much it may take. */
import {
  type Metadata,
  ServerInterceptingCall,
  type ServerInterceptingCallInterface,
  type ServerInterceptor,
  type ServerListener,
  type ServerMethodDefinition,
} from '@grpc/grpc-js';
import type { ServeConfig } from '../config/schema.js';
import { SaladError } from '../errors/index.js';
import { CallPlaces, type Place } from '../limits/call-places.js';
import { messageBytes } from '../limits/intake.js';
import { addressKey } from '../limits/peer.js';
import { Rates } from '../limits/rates.js';
import type { Logger } from '../telemetry/logger.js';
import { SilenceTimer } from '../wire/silence-timer.js';
import { toServiceError } from '../wire/status.js';
import { type Authenticator, openAuthenticator, type Peer } from './authenticator.js';
import { setCaller } from './caller.js';
import { type Identity, requirementOf } from './identity.js';
import { Quotas } from './quotas.js';

export interface Guard {
  /** For the server's options: it sees every call before any handler does. */
  readonly interceptor: ServerInterceptor;
  /** Rates of calls by peer: the port counts those of addresses. */
  readonly rates: Rates;
  /** For the log: what a call may identify itself by. */
  readonly summary: string;
  /** Ends what reads files again. */
  close(): void;
}

interface GuardParts {
  readonly config: ServeConfig;
  readonly authenticator: Authenticator;
  readonly quotas: Quotas;
  readonly places: CallPlaces;
  readonly rates: Rates;
  readonly logger: Logger;
}

/** @throws SaladError CONFIGURATION_INVALID for key files that are not sound */
export async function openGuard(config: ServeConfig, logger: Logger): Promise<Guard> {
  const authenticator = await openAuthenticator(config, logger);
  const quotas = new Quotas({
    maxAcquisitions: config.identityMaxAcquisitions,
    maxBytesPerSecond: config.identityMaxBytesPerSecond,
    longestPauseMs: config.idleTimeoutMs / 2,
  });
  const places = new CallPlaces({
    scoring: config.maxConcurrentAcquisitions,
    // One Watch for each connection.
    others: config.maxConnections,
    peerShareRatio: config.peerShareRatio,
  });
  const rates = new Rates({ perSecond: config.peerCallsPerSecond });
  const parts = { config, authenticator, quotas, places, rates, logger };
  return {
    interceptor: (method, call) => new GuardedCall(parts, method, call),
    rates,
    summary: authenticator.summary,
    close: () => authenticator.close(),
  };
}

class GuardedCall extends ServerInterceptingCall {
  private identity: Identity | undefined;
  private giveBack: (() => void) | undefined;
  private place: Place | undefined;
  private pause: NodeJS.Timeout | undefined;
  /** Runs until the first message: neither grpc-js nor a handler has begun to count. */
  private firstRead: SilenceTimer | undefined;
  /** Nothing but the end is still to come. */
  private isRead = false;
  private over = false;

  constructor(
    private readonly parts: GuardParts,
    private readonly method: ServerMethodDefinition<unknown, unknown>,
    private readonly call: ServerInterceptingCallInterface,
  ) {
    super(call, { start: (next) => next(this.listener()) });
  }

  /** Reading goes no faster than the identity's bytes allow; HTTP/2 flow control then slows the client. */
  override startRead(): void {
    const pauseMs = this.identity === undefined ? 0 : this.parts.quotas.pauseMs(this.identity.name);
    if (pauseMs === 0 || this.isRead) this.readNow();
    else this.pause = setTimeout(() => this.readNow(), pauseMs);
  }

  private readNow(): void {
    super.startRead();
    if (this.firstRead !== undefined || this.over) return;
    const { headerTimeoutMs, requestTimeoutMs } = this.parts.config;
    const timeoutMs = this.method.requestStream ? headerTimeoutMs : requestTimeoutMs;
    this.firstRead = new SilenceTimer(timeoutMs, () => {
      this.refuse(new SaladError('IDLE_TIMEOUT', `no message came within ${timeoutMs} ms`));
    });
  }

  private listener(): ServerListener {
    return {
      onReceiveMetadata: (metadata, next) => {
        void this.admit(metadata).then(
          () => {
            if (!this.over) next(metadata);
          },
          (error: unknown) => this.refuse(error),
        );
      },
      onReceiveMessage: (message, next) => {
        if (this.identity !== undefined) this.parts.quotas.take(this.identity.name, messageBytes(message));
        this.firstRead?.stop();
        this.isRead = !this.method.requestStream;
        next(message);
      },
      // grpc-js says so at the end of every call, however it ended.
      onCancel: () => {
        this.over = true;
        clearTimeout(this.pause);
        this.firstRead?.stop();
        this.giveBack?.();
        this.place?.release();
      },
    };
  }

  /** @throws SaladError for a call that must not reach its handler */
  private async admit(metadata: Metadata): Promise<void> {
    const { authenticator, config, logger, quotas } = this.parts;
    const address = addressKey(this.call.getConnectionInfo().remoteAddress);
    this.place = this.parts.places.take(this.method.path, address);
    const requirement = requirementOf(this.method.path);
    if (requirement === 'none') return;
    const identity = await authenticator.identify(metadata, () => peerOf(this.call));
    if (requirement === 'admin' && !config.admin) {
      throw new SaladError('ADMIN_DISABLED', 'this server does not offer calls that change it');
    }
    if ((requirement === 'admin' || requirement === 'score') && !identity.scopes.has(requirement)) {
      throw new SaladError('SCOPE_MISSING', `${identity.name} lacks the scope "${requirement}"`);
    }
    if (this.over) return;
    // Where nobody has to identify itself, an identity is an address, or a certificate.
    const peer = identity.name.startsWith('address ') ? address : identity.name;
    if (peer !== address) this.countFor(peer);
    setCaller(metadata, { identity, peer });
    quotas.refuseDebt(identity.name);
    if (this.method.path.startsWith('/salad.v1.AnomalyScoring/')) this.giveBack = quotas.begin(identity.name);
    this.identity = identity;
    const { path } = this.method;
    logger.debug({ identity: identity.name, path, peer: this.call.getPeer() }, 'call admitted');
  }

  /** The address was counted before the call came here. @throws SaladError QUOTA_EXCEEDED */
  private countFor(peer: string): void {
    const owedMs = this.parts.rates.take(peer);
    if (owedMs > 0) {
      const retryAfterMs = Math.ceil(owedMs);
      throw new SaladError('QUOTA_EXCEEDED', `${peer} makes too many calls a second`, { retryAfterMs });
    }
    this.place?.moveTo(peer);
  }

  private refuse(error: unknown): void {
    const { code, details, metadata } = toServiceError(error, this.parts.config.retryDelayMs);
    this.call.sendStatus({ code, details, metadata });
  }
}

function peerOf(call: ServerInterceptingCallInterface): Peer {
  const { sslPeerCertificate } = call.getAuthContext();
  const name = sslPeerCertificate?.subject.CN ?? sslPeerCertificate?.fingerprint256;
  return {
    certificate: Array.isArray(name) ? name.join() : name,
    address: call.getConnectionInfo().remoteAddress ?? 'unknown',
  };
}
