/** Admits or refuses every call: identifies its caller, checks its scope, applies limits and quotas. */
import {
  type Metadata,
  ServerInterceptingCall,
  type ServerInterceptingCallInterface,
  type ServerInterceptor,
  type ServerListener,
  type ServerMethodDefinition,
} from '@grpc/grpc-js';
import type { AdmissionConfig } from '../config/sections/admission.js';
import type { CallConfig } from '../config/sections/calls.js';
import type { ConnectionConfig } from '../config/sections/connections.js';
import type { QuotaConfig } from '../config/sections/quotas.js';
import type { SecurityConfig } from '../config/sections/security.js';
import { SaladError } from '../errors/index.js';
import { CallLimits, type CallPermit } from '../limits/call-limits.js';
import { messageBytes } from '../limits/message-receiver.js';
import { addressKey } from '../limits/peer-key.js';
import { RateLimiter } from '../limits/rate-limiter.js';
import type { Logger } from '../telemetry/logger.js';
import { isScoringMethod } from '../wire/methods.js';
import { SilenceTimer } from '../wire/silence-timer.js';
import { toServiceError } from '../wire/status.js';
import { type Authenticator, openAuthenticator, type PeerConnection } from './authenticator.js';
import { setCaller } from './caller.js';
import { type Identity, requirementOf } from './identity.js';
import { Quotas } from './quotas.js';

export interface Guard {
  /** For the server's options: runs before any handler. */
  readonly interceptor: ServerInterceptor;
  /** Calls a second of identities; the port records those of addresses in it. */
  readonly rateLimiter: RateLimiter;
  /** For the log: the credentials that are accepted. */
  readonly summary: string;
  /** Stops reloading files. */
  close(): void;
}

/** The sections that the guard reads. */
export type GuardConfig = SecurityConfig & QuotaConfig & CallConfig & AdmissionConfig & ConnectionConfig;

interface GuardParts {
  readonly config: GuardConfig;
  readonly authenticator: Authenticator;
  readonly quotas: Quotas;
  readonly callLimits: CallLimits;
  readonly rateLimiter: RateLimiter;
  readonly logger: Logger;
}

/** @throws SaladError CONFIGURATION_INVALID for invalid key files */
export async function openGuard(config: GuardConfig, logger: Logger): Promise<Guard> {
  const authenticator = await openAuthenticator(config, logger);
  const quotas = new Quotas({
    maxAcquisitions: config.identityMaxAcquisitions,
    maxBytesPerSecond: config.identityMaxBytesPerSecond,
    maxPauseMs: config.idleTimeoutMs / 2,
  });
  const callLimits = new CallLimits({
    maxScoringCalls: config.maxConcurrentAcquisitions,
    // One Watch for each connection.
    maxOtherCalls: config.maxConnections,
    peerShareRatio: config.peerShareRatio,
  });
  const rateLimiter = new RateLimiter({ callsPerSecond: config.peerCallsPerSecond });
  const parts = { config, authenticator, quotas, callLimits, rateLimiter, logger };
  return {
    interceptor: (method, call) => new GuardedCall(parts, method, call),
    rateLimiter,
    summary: authenticator.summary,
    close: () => authenticator.close(),
  };
}

class GuardedCall extends ServerInterceptingCall {
  private identity: Identity | undefined;
  private releaseQuota: (() => void) | undefined;
  private permit: CallPermit | undefined;
  private pauseTimer: NodeJS.Timeout | undefined;
  /** Runs until the first message: neither grpc-js nor the handler limits this time. */
  private firstMessageTimer: SilenceTimer | undefined;
  /** Whether all request messages were received, so that only the end of the request follows. */
  private hasAllMessages = false;
  private isOver = false;

  constructor(
    private readonly parts: GuardParts,
    private readonly method: ServerMethodDefinition<unknown, unknown>,
    private readonly call: ServerInterceptingCallInterface,
  ) {
    super(call, { start: (next) => next(this.listener()) });
  }

  /** Delays reading while the identity exceeds its byte rate; HTTP/2 flow control then slows the client. */
  override startRead(): void {
    const pauseMs = this.identity === undefined ? 0 : this.parts.quotas.pauseMs(this.identity.name);
    if (pauseMs === 0 || this.hasAllMessages) this.readNow();
    else this.pauseTimer = setTimeout(() => this.readNow(), pauseMs);
  }

  private readNow(): void {
    super.startRead();
    if (this.firstMessageTimer !== undefined || this.isOver) return;
    const { headerTimeoutMs, requestTimeoutMs } = this.parts.config;
    const timeoutMs = this.method.requestStream ? headerTimeoutMs : requestTimeoutMs;
    this.firstMessageTimer = new SilenceTimer(timeoutMs, () => {
      this.refuse(new SaladError('IDLE_TIMEOUT', `no message came within ${timeoutMs} ms`));
    });
  }

  private listener(): ServerListener {
    return {
      onReceiveMetadata: (metadata, next) => {
        void this.admit(metadata).then(
          () => {
            if (!this.isOver) next(metadata);
          },
          (error: unknown) => this.refuse(error),
        );
      },
      onReceiveMessage: (message, next) => {
        if (this.identity !== undefined) {
          this.parts.quotas.recordBytes(this.identity.name, messageBytes(message));
        }
        this.firstMessageTimer?.stop();
        this.hasAllMessages = !this.method.requestStream;
        next(message);
      },
      // grpc-js calls this at the end of every call, however it ended.
      onCancel: () => {
        this.isOver = true;
        clearTimeout(this.pauseTimer);
        this.firstMessageTimer?.stop();
        this.releaseQuota?.();
        this.permit?.release();
      },
    };
  }

  /** @throws SaladError for a call that must not reach its handler */
  private async admit(metadata: Metadata): Promise<void> {
    const { authenticator, callLimits, logger, quotas } = this.parts;
    const { path } = this.method;
    const address = addressKey(this.call.getConnectionInfo().remoteAddress);
    this.permit = callLimits.acquire(path, address);
    if (requirementOf(path) === 'none') return;
    const identity = await authenticator.identify(metadata, () => connectionOf(this.call));
    this.checkScope(identity);
    if (this.isOver) return;
    // Where callers need no credentials, an identity is an address or a certificate.
    const peer = identity.name.startsWith('address ') ? address : identity.name;
    if (peer !== address) this.countFor(peer);
    setCaller(metadata, { identity, peer });
    quotas.checkByteRate(identity.name);
    if (isScoringMethod(path)) {
      this.releaseQuota = quotas.openAcquisition(identity.name);
    }
    this.identity = identity;
    logger.debug({ identity: identity.name, path, peer: this.call.getPeer() }, 'call admitted');
  }

  /** @throws SaladError ADMIN_DISABLED, SCOPE_MISSING */
  private checkScope(identity: Identity): void {
    const requirement = requirementOf(this.method.path);
    if (requirement === 'admin' && !this.parts.config.admin) {
      throw new SaladError(
        'ADMIN_DISABLED',
        'this server does not offer calls that change it (its setting admin is off)',
      );
    }
    if ((requirement === 'admin' || requirement === 'score') && !identity.scopes.has(requirement)) {
      throw new SaladError('SCOPE_MISSING', `${identity.name} lacks the scope "${requirement}"`);
    }
  }

  /** Counts the call for an identity: until now it was counted for its address. @throws SaladError QUOTA_EXCEEDED */
  private countFor(peer: string): void {
    const excessMs = this.parts.rateLimiter.record(peer);
    if (excessMs > 0) {
      const retryAfterMs = Math.ceil(excessMs);
      throw new SaladError('QUOTA_EXCEEDED', `${peer} makes too many calls a second; try again later`, {
        retryAfterMs,
      });
    }
    this.permit?.moveTo(peer);
  }

  private refuse(error: unknown): void {
    const { code, details, metadata } = toServiceError(error, this.parts.config.retryDelayMs);
    this.call.sendStatus({ code, details, metadata });
  }
}

function connectionOf(call: ServerInterceptingCallInterface): PeerConnection {
  const { sslPeerCertificate } = call.getAuthContext();
  const name = sslPeerCertificate?.subject.CN ?? sslPeerCertificate?.fingerprint256;
  return {
    certificate: Array.isArray(name) ? name.join() : name,
    address: call.getConnectionInfo().remoteAddress ?? 'unknown',
  };
}
