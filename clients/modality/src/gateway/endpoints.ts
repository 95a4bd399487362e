/** What the sections of ports say: host, port, TLS. */
import { readFile } from 'node:fs/promises';
import type { TlsOptions } from 'node:tls';
import type { PortSettings } from './settings.js';

export function endpointOf({ listen }: Pick<PortSettings, 'listen'>): {
  readonly host: string;
  readonly port: number;
} {
  const colon = listen.lastIndexOf(':');
  return { host: listen.slice(0, colon).replace(/^\[(.*)\]$/, '$1'), port: Number(listen.slice(colon + 1)) };
}

export function addressOf({ listen }: PortSettings, port: number): string {
  return `${listen.slice(0, listen.lastIndexOf(':'))}:${port}`;
}

export type PortTls = Pick<TlsOptions, 'cert' | 'key' | 'ca' | 'requestCert'>;

export async function tlsOf(section: PortSettings): Promise<PortTls | undefined> {
  const { tlsCertFile, tlsKeyFile, tlsClientCaFile } = section;
  if (tlsCertFile === undefined || tlsKeyFile === undefined) return undefined;
  const [cert, key] = [await readFile(tlsCertFile), await readFile(tlsKeyFile)];
  if (tlsClientCaFile === undefined) return { cert, key };
  return { cert, key, ca: await readFile(tlsClientCaFile), requestCert: true };
}
