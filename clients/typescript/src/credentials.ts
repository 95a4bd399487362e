/** Who the server is, and who the client says it is. */
import { type ChannelCredentials, credentials } from '@grpc/grpc-js';

/** PEM texts; all may be left out: then the system's authorities are trusted and no certificate is shown. */
export interface TlsOptions {
  /** Authorities that the server's certificate must come from. @default the system's */
  readonly ca?: string | Uint8Array;
  /** The client's own certificate and chain, for a server that asks for one. */
  readonly certificate?: string | Uint8Array;
  readonly privateKey?: string | Uint8Array;
}

export interface IdentityOptions {
  /** Sent as `authorization: Bearer …` with every call; a function is asked every time, so that tokens may change. */
  readonly token?: string | (() => string);
  /** Sent as `x-api-key` with every call. */
  readonly apiKey?: string;
}

/** @throws Error where the PEM texts are none, or a certificate comes without its key */
export function channelCredentials(tls: TlsOptions | true | undefined): ChannelCredentials {
  if (tls === undefined) return credentials.createInsecure();
  const { ca, certificate, privateKey } = tls === true ? ({} as TlsOptions) : tls;
  return credentials.createSsl(bytes(ca), bytes(privateKey), bytes(certificate));
}

export function identityMetadata({ token, apiKey }: IdentityOptions): Record<string, string> {
  const metadata: Record<string, string> = {};
  if (token !== undefined)
    metadata['authorization'] = `Bearer ${typeof token === 'string' ? token : token()}`;
  if (apiKey !== undefined) metadata['x-api-key'] = apiKey;
  return metadata;
}

function bytes(pem: string | Uint8Array | undefined): Buffer | null {
  return pem === undefined ? null : Buffer.from(pem);
}
