/** Checks and binds the addresses to listen on. */
import { lookup } from 'node:dns/promises';
import { createServer } from 'node:net';
import type { Server, ServerCredentials } from '@grpc/grpc-js';
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
  const colon = listen.lastIndexOf(':');
  const port = Number(listen.slice(colon + 1));
  if (listen === '' || port === 0) return;
  const host = listen.slice(0, colon).replace(/^\[(.*)\]$/, '$1');
  const addresses = await lookup(host, { all: true }).catch((error: unknown) => {
    throw unavailable(setting, listen, error);
  });
  const errors = (await Promise.all(addresses.map(({ address }) => tryListen(address, port)))).filter(
    (error) => error !== undefined,
  );
  const fatal = errors.find(({ code }) => !TOLERATED_CODES.has(code ?? '')) ?? errors[addresses.length - 1];
  if (fatal !== undefined) throw unavailable(setting, listen, fatal);
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
  server: Server,
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

function unavailable(setting: string, listen: string, cause: unknown): SaladError {
  const { code, message } = cause as NodeJS.ErrnoException;
  const reason = REASONS[code ?? ''] ?? message;
  return new SaladError('ADDRESS_UNAVAILABLE', `${setting} ${listen}: ${reason}`, { cause });
}
