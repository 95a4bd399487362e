/** Checks and binds the addresses to listen on. */
import { lookup } from 'node:dns/promises';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import type { Server as GrpcServer, ServerCredentials } from '@grpc/grpc-js';
import { SaladError } from '../errors/index.js';

/** Errors of a machine without IPv6 for ::1, which `localhost` resolves to as well. */
const TOLERATED_CODES = new Set(['EADDRNOTAVAIL', 'EAFNOSUPPORT']);

/**
 * Listens for a moment, so that an address in use is reported before models are loaded. The port is then closed again,
 * because clients must not connect to a server that is not ready; another process may take it before `bind`.
 * @param setting the setting that the address comes from, for the error
 * @param listen HOST:PORT; empty and port 0 pass
 * @throws SaladError ADDRESS_UNAVAILABLE
 */
export async function checkListen(setting: string, listen: string): Promise<void> {
  const port = Number(listen.slice(listen.lastIndexOf(':') + 1));
  if (listen === '' || port === 0) return;
  const addresses = await addressesOf(setting, listen);
  const errors = (await Promise.all(addresses.map((address) => tryListen(address, port)))).filter(
    (error) => error !== undefined,
  );
  const fatal = errors.find(({ code }) => !TOLERATED_CODES.has(code ?? '')) ?? errors[addresses.length - 1];
  if (fatal !== undefined) throw unavailable(setting, listen, fatal);
}

/** The address with the port that was selected. @param listen HOST:PORT */
export function withPort(listen: string, port: number): string {
  return `${listen.slice(0, listen.lastIndexOf(':'))}:${port}`;
}

/** @returns the error; undefined where listening succeeded */
function tryListen(host: string, port: number): Promise<NodeJS.ErrnoException | undefined> {
  return new Promise((resolve) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', resolve);
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(undefined)));
  });
}

/** @returns the port @throws SaladError ADDRESS_UNAVAILABLE */
export function bind(
  server: GrpcServer,
  setting: string,
  listen: string,
  credentials: ServerCredentials,
): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(listen, credentials, (error, port) => {
      if (error === null) resolve(port);
      else reject(unavailable(setting, listen, error));
    });
  });
}

const REASONS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'the address is in use',
  EACCES: 'permission denied: choose a port above 1023, or give this user the right to listen there',
  EADDRNOTAVAIL: 'this machine has no such address',
  ENOTFOUND: 'the host name cannot be resolved',
  EAI_AGAIN: 'the host name cannot be resolved',
};

/** Why an address cannot be listened on, in words; the message of an unknown error. */
export function listenReason(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return REASONS[code ?? ''] ?? message;
}

function unavailable(setting: string, listen: string, cause: unknown): SaladError {
  const reason = listenReason(cause);
  return new SaladError('ADDRESS_UNAVAILABLE', `${setting} ${listen}: ${reason}`, { cause });
}

/** @throws SaladError ADDRESS_UNAVAILABLE */
async function addressesOf(setting: string, listen: string): Promise<readonly string[]> {
  const host = listen.slice(0, listen.lastIndexOf(':')).replace(/^\[(.*)\]$/, '$1');
  const found = await lookup(host, { all: true }).catch((error: unknown) => {
    throw unavailable(setting, listen, error);
  });
  return found.map(({ address }) => address);
}

export interface Listeners {
  readonly port: number;
  /** Accepts no more connections. */
  close(): void;
}

/**
 * Listens on every address of the host, as grpc-js does, and reads nothing from the connections.
 * @param listen HOST:PORT; port 0 selects the same free port for all addresses
 * @throws SaladError ADDRESS_UNAVAILABLE
 */
export async function listenPaused(
  setting: string,
  listen: string,
  onConnection: (socket: Socket) => void,
): Promise<Listeners> {
  let port = Number(listen.slice(listen.lastIndexOf(':') + 1));
  const servers: Server[] = [];
  let tolerated: unknown;
  for (const host of await addressesOf(setting, listen)) {
    const server = createServer({ pauseOnConnect: true }, onConnection);
    const error = await new Promise<NodeJS.ErrnoException | undefined>((resolve) => {
      server.once('error', resolve).listen({ host, port }, () => resolve(undefined));
    });
    if (error === undefined) {
      servers.push(server);
      port = (server.address() as AddressInfo).port;
    } else if (TOLERATED_CODES.has(error.code ?? '')) tolerated = error;
    else {
      for (const each of servers) each.close();
      throw unavailable(setting, listen, error);
    }
  }
  if (servers.length === 0) throw unavailable(setting, listen, tolerated);
  return {
    port,
    close() {
      for (const server of servers) server.close();
    },
  };
}
