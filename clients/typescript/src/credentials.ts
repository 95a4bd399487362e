/** Credentials: TLS of the connection, and the token or API key of the caller. */
import { type ChannelCredentials, credentials } from '@grpc/grpc-js';

/** PEM texts. Without any, the authorities of the system are trusted and no client certificate is sent. */
export interface TlsOptions {
  /** Trusted authorities for the server's certificate. @default those of the system */
  readonly ca?: string | Uint8Array;
  /** The client's certificate and chain, for a server that requires one; needs `privateKey`. */
  readonly certificate?: string | Uint8Array;
  readonly privateKey?: string | Uint8Array;
}

export interface IdentityOptions {
  /** Sent as `authorization: Bearer …` with every call. A function is called for every call, so that tokens can change. */
  readonly token?: string | (() => string);
  /** Sent as `x-api-key` with every call. */
  readonly apiKey?: string;
}

/** @throws Error if a text is not PEM, or a certificate has no key */
export function channelCredentials(tls: TlsOptions | true | undefined): ChannelCredentials {
  if (tls === undefined) return credentials.createInsecure();
  const { ca, certificate, privateKey } = tls === true ? ({} as TlsOptions) : tls;
  return credentials.createSsl(toBuffer(ca), toBuffer(privateKey), toBuffer(certificate));
}

export function identityMetadata({ token, apiKey }: IdentityOptions): Record<string, string> {
  const metadata: Record<string, string> = {};
  if (token !== undefined)
    metadata['authorization'] = `Bearer ${typeof token === 'string' ? token : token()}`;
  if (apiKey !== undefined) metadata['x-api-key'] = apiKey;
  return metadata;
}

function toBuffer(pem: string | Uint8Array | undefined): Buffer | null {
  return pem === undefined ? null : Buffer.from(pem);
}
