/** The HTTP port for STOW-RS: `POST /studies`, in plaintext or over TLS. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { TlsOptions } from 'node:tls';
import { SaladError } from '../../../../src/errors/index.js';
import type { Inbox } from '../inbox/inbox.js';
import type { Priority } from '../inbox/instance.js';
import { multipartOf } from './multipart.js';
import { responseOf, type StoredPart, storeParts } from './store-request.js';

export interface StowPortOptions {
  readonly inbox: Inbox;
  readonly host: string;
  /** 0 selects a free port. */
  readonly port: number;
  readonly priority: Priority;
  /** Every request must have it as a bearer token; undefined requires none. */
  readonly token: string | undefined;
  readonly tls?: Pick<TlsOptions, 'cert' | 'key' | 'ca' | 'requestCert'> | undefined;
  readonly connectionsMax: number;
  /** Between two packets of a request. */
  readonly dataMs: number;
  readonly events: StowEvents;
}

export interface StowEvents {
  /** One part of a request was answered for. */
  stowed(part: Pick<StoredPart, 'kept' | 'error'>): void;
  /** @param status of the response to a whole request that was refused */
  requestRefused(status: number): void;
}

const PATH = /^\/(dicom-web\/)?studies\/?$/;
/** Seconds after which a sender may try again when the disk is full. */
const RETRY_AFTER_S = 60;
const HEADERS_MS = 30_000;

export class StowPort {
  private constructor(
    private readonly server: Server,
    private readonly options: StowPortOptions,
  ) {
    server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      void this.answer(request, response);
    });
    server.on('clientError', (_error, socket) => socket.destroy());
    server.maxConnections = options.connectionsMax;
    server.headersTimeout = HEADERS_MS;
    // A mammogram over a slow link may take long; what counts is that something arrives.
    server.requestTimeout = 0;
    server.timeout = options.dataMs;
  }

  /** @throws SaladError ADDRESS_UNAVAILABLE; errors of wrong certificates */
  static async listen(options: StowPortOptions): Promise<StowPort> {
    const { host, port, tls } = options;
    const server =
      tls === undefined
        ? createServer()
        : createTlsServer({ ...tls, minVersion: 'TLSv1.2', rejectUnauthorized: true });
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error) =>
        reject(new SaladError('ADDRESS_UNAVAILABLE', `stow.listen ${host}:${port}: ${error.message}`)),
      );
      server.listen({ host, port }, resolve);
    });
    return new StowPort(server, options);
  }

  get port(): number {
    return (this.server.address() as { port: number }).port;
  }

  /** Accepts no more requests and lets those under way finish, for `graceMs` at most. */
  async close(graceMs: number): Promise<void> {
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    this.server.closeIdleConnections();
    const end = setTimeout(() => this.server.closeAllConnections(), graceMs);
    await closed;
    clearTimeout(end);
  }

  /** Never rejects. */
  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const refusal = await this.refusalOf(request);
      if (refusal === undefined) await this.store(request, response);
      else this.refuse(response, refusal);
    } catch (error) {
      const { reason } = SaladError.from(error);
      this.refuse(response, reason === 'MESSAGE_INVALID' ? 400 : 500);
    }
  }

  private async refusalOf(request: IncomingMessage): Promise<number | undefined> {
    if (!this.isAllowed(request.headers.authorization)) return 401;
    if (!PATH.test((request.url ?? '').replace(/\?.*$/, ''))) return 404;
    if (request.method !== 'POST') return 405;
    const multipart = multipartOf(request.headers['content-type']);
    if (multipart === undefined || multipart.type !== 'application/dicom') return 415;
    try {
      await this.options.inbox.checkSpace();
      return undefined;
    } catch (error) {
      if (SaladError.from(error).reason === 'STORAGE_FULL') return 507;
      throw error;
    }
  }

  private isAllowed(authorization: string | undefined): boolean {
    const { token } = this.options;
    if (token === undefined) return true;
    const hash = (text: string) => createHash('sha256').update(text).digest();
    return timingSafeEqual(hash(authorization ?? ''), hash(`Bearer ${token}`));
  }

  private async store(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { boundary } = multipartOf(request.headers['content-type'])!;
    const { inbox, priority, events } = this.options;
    const parts: StoredPart[] = [];
    await storeParts(inbox, request, boundary, priority, (part) => {
      parts.push(part);
      events.stowed(part);
    });
    const { status, body } = responseOf(parts);
    if (status === 507) response.setHeader('retry-after', RETRY_AFTER_S);
    response.writeHead(status, { 'content-type': 'application/dicom+json' }).end(JSON.stringify(body));
  }

  private refuse(response: ServerResponse, status: number): void {
    this.options.events.requestRefused(status);
    if (response.headersSent) {
      response.destroy();
      return;
    }
    if (status === 507) response.setHeader('retry-after', RETRY_AFTER_S);
    if (status === 401) response.setHeader('www-authenticate', 'Bearer');
    if (status === 405) response.setHeader('allow', 'POST');
    // The body is not read: the connection ends with the response.
    response.writeHead(status, { connection: 'close', 'content-length': 0 }).end();
  }
}
