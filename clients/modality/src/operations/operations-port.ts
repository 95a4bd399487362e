/** The HTTP port of operations: probes at `/livez` and `/readyz`, metrics for Prometheus at `/metrics`. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { TlsOptions } from 'node:tls';
import { SaladError } from '../../../../src/errors/index.js';

export interface OperationsPortOptions {
  readonly host: string;
  /** 0 selects a free port. */
  readonly port: number;
  readonly tls?: Pick<TlsOptions, 'cert' | 'key' | 'ca' | 'requestCert'> | undefined;
  /** Why the gateway takes no instances; undefined where it takes them. Never rejects. */
  readonly reasonAgainst: () => Promise<string | undefined>;
  /** Answers a request for the metrics. */
  readonly metrics: (request: IncomingMessage, response: ServerResponse) => void;
}

/** Far more than probes and scrapers need. */
const CONNECTIONS_MAX = 64;
const REQUEST_MS = 10_000;

export class OperationsPort {
  private constructor(private readonly server: Server) {}

  /** @throws SaladError ADDRESS_UNAVAILABLE; errors of wrong certificates */
  static async listen(options: OperationsPortOptions): Promise<OperationsPort> {
    const { host, port, tls } = options;
    const server =
      tls === undefined
        ? createServer()
        : createTlsServer({ ...tls, minVersion: 'TLSv1.2', rejectUnauthorized: true });
    server.maxConnections = CONNECTIONS_MAX;
    server.headersTimeout = REQUEST_MS;
    server.requestTimeout = REQUEST_MS;
    server.timeout = 2 * REQUEST_MS;
    server.on('clientError', (_error, socket) => socket.destroy());
    server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      void answer(options, request, response);
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error) =>
        reject(new SaladError('ADDRESS_UNAVAILABLE', `operations.listen ${host}:${port}: ${error.message}`)),
      );
      server.listen({ host, port }, resolve);
    });
    return new OperationsPort(server);
  }

  get port(): number {
    return (this.server.address() as { port: number }).port;
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    this.server.closeAllConnections();
    await closed;
  }
}

async function answer(
  { reasonAgainst, metrics }: OperationsPortOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('allow', 'GET, HEAD').setHeader('connection', 'close');
    return send(response, 405, 'only GET and HEAD');
  }
  switch ((request.url ?? '').replace(/\?.*$/, '')) {
    case '/livez':
      return send(response, 200, 'the gateway runs');
    case '/readyz': {
      const reason = await reasonAgainst();
      return send(response, reason === undefined ? 200 : 503, reason ?? 'the gateway takes instances');
    }
    case '/metrics':
      return metrics(request, response);
    default:
      return send(response, 404, 'known are /livez, /readyz and /metrics');
  }
}

function send(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' }).end(`${text}\n`);
}
