/** The DICOM port: a C-STORE and C-ECHO service class provider, in plaintext or over TLS. */
import { createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type TlsOptions } from 'node:tls';
import { SaladError } from '../../../../src/errors/index.js';
import { type AssociationOptions, StoreAssociation } from './store-association.js';

export interface DicomPortOptions extends Omit<AssociationOptions, 'isFull'> {
  readonly host: string;
  /** 0 selects a free port. */
  readonly port: number;
  readonly associationsMax: number;
  readonly tls?: Pick<TlsOptions, 'cert' | 'key' | 'ca' | 'requestCert'> | undefined;
}

/** Connections that may wait for their refusal, beyond the associations. */
const EXTRA_CONNECTIONS = 8;

export class DicomPort {
  private readonly associations = new Set<StoreAssociation>();
  private readonly sockets = new Set<Socket>();
  private isClosing = false;

  private constructor(
    private readonly server: Server,
    private readonly options: DicomPortOptions,
  ) {
    server.maxConnections = options.associationsMax + EXTRA_CONNECTIONS;
    server.on(options.tls === undefined ? 'connection' : 'secureConnection', (socket: Socket) =>
      this.connected(socket),
    );
    // A peer without the right TLS; the socket is closed by Node.
    server.on('tlsClientError', () => {});
  }

  /** @throws SaladError ADDRESS_UNAVAILABLE; errors of wrong certificates */
  static async listen(options: DicomPortOptions): Promise<DicomPort> {
    const { host, port, tls, associationMs } = options;
    const server =
      tls === undefined
        ? createServer()
        : createTlsServer({
            ...tls,
            minVersion: 'TLSv1.2',
            rejectUnauthorized: true,
            handshakeTimeout: associationMs,
          });
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error) =>
        reject(new SaladError('ADDRESS_UNAVAILABLE', `dicom.listen ${host}:${port}: ${error.message}`)),
      );
      server.listen({ host, port }, resolve);
    });
    return new DicomPort(server, options);
  }

  /** The port that it listens on. */
  get port(): number {
    return (this.server.address() as { port: number }).port;
  }

  /** Associations that are open. */
  get open(): number {
    return [...this.associations].filter(({ isAssociated }) => isAssociated).length;
  }

  /**
   * Accepts no more associations, ends idle ones, and lets operations finish.
   * @param graceMs after which also these are ended
   */
  async close(graceMs: number): Promise<void> {
    this.isClosing = true;
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    const drain = () => {
      for (const association of this.associations) association.drain();
    };
    drain();
    const drains = setInterval(drain, 50);
    const end = setTimeout(() => {
      for (const socket of this.sockets) socket.destroy();
    }, graceMs);
    await closed;
    clearInterval(drains);
    clearTimeout(end);
  }

  private connected(socket: Socket): void {
    socket.setNoDelay(true);
    socket.setKeepAlive(true, 60_000);
    const association = new StoreAssociation(socket, {
      ...this.options,
      isFull: () => this.isClosing || this.open >= this.options.associationsMax,
    });
    this.associations.add(association);
    this.sockets.add(socket);
    socket.once('close', () => {
      this.associations.delete(association);
      this.sockets.delete(socket);
    });
  }
}
