/**
 * The port's certificates: read from files, checked, and read again when the files change. A changed pair serves
 * new handshakes; connections that stand keep what they began with, so no stream breaks.
 */
import { createHash, createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { Http2SecureServer, Http2Server } from 'node:http2';
import { createSecureContext } from 'node:tls';
import { experimental, ServerCredentials } from '@grpc/grpc-js';
import type { ServeConfig } from '../config/schema.js';
import { SaladError } from '../errors/index.js';
import type { Logger } from '../telemetry/logger.js';
import { type Digested, Reloaded } from './reloaded.js';

export type TlsFiles = Pick<ServeConfig, 'tlsCertFile' | 'tlsKeyFile' | 'tlsClientCaFile'>;

/** What the three files hold, found sound together. */
export interface TlsMaterial extends Digested {
  readonly certificate: Buffer;
  readonly privateKey: Buffer;
  /** Authorities of client certificates; undefined where none is asked for. */
  readonly clientCa: Buffer | undefined;
  /** The first of the chain: the server's own. */
  readonly leaf: X509Certificate;
}

export interface PortCredentials {
  readonly credentials: ServerCredentials;
  /** For the log. */
  readonly summary: string;
  /** Ends the polling. */
  close(): void;
}

/** @throws SaladError CONFIGURATION_INVALID naming the setting and the file at fault */
export async function readTlsMaterial(files: TlsFiles): Promise<TlsMaterial> {
  const [certificate, privateKey, clientCa] = await Promise.all([
    readPem('tlsCertFile', files),
    readPem('tlsKeyFile', files),
    files.tlsClientCaFile === '' ? undefined : readPem('tlsClientCaFile', files),
  ]);
  const leaf = parsed('tlsCertFile', files, () => new X509Certificate(certificate));
  const key = parsed('tlsKeyFile', files, () => createPrivateKey(privateKey));
  if (!leaf.checkPrivateKey(key)) {
    throw invalid('tlsKeyFile', files, `is not the key of the certificate in ${files.tlsCertFile}`);
  }
  const now = Date.now();
  if (Date.parse(leaf.validTo) < now) throw invalid('tlsCertFile', files, `expired on ${leaf.validTo}`);
  if (Date.parse(leaf.validFrom) > now)
    throw invalid('tlsCertFile', files, `is valid from ${leaf.validFrom} only`);
  if (clientCa !== undefined) parsed('tlsClientCaFile', files, () => new X509Certificate(clientCa));
  parsed('tlsCertFile', files, () =>
    createSecureContext({ cert: certificate, key: privateKey, ca: clientCa }),
  );
  const digest = createHash('sha256')
    .update(certificate)
    .update(privateKey)
    .update(clientCa ?? '')
    .digest('hex');
  return { certificate, privateKey, clientCa, leaf, digest };
}

/** Plaintext where no certificate is set: that this is allowed, the configuration was asked before. */
export async function portCredentials(config: ServeConfig, logger: Logger): Promise<PortCredentials> {
  if (config.tlsCertFile === '') {
    return { credentials: ServerCredentials.createInsecure(), summary: 'off', close() {} };
  }
  const certificates = new Certificates();
  const files = await Reloaded.open({
    read: () => readTlsMaterial(config),
    everyMs: config.securityReloadMs,
    what: 'certificates',
    logger,
    onChange: (material) => certificates.use(material),
  });
  certificates.use(files.value);
  const asksClients = config.tlsClientCaFile !== '';
  const { leaf } = files.value;
  const clients = asksClients ? ', client certificates required' : '';
  return {
    summary: `certificate of ${leaf.subject || leaf.subjectAltName}, valid until ${leaf.validTo}${clients}`,
    credentials: experimental.createCertificateProviderServerCredentials(
      certificates,
      asksClients ? certificates : null,
      asksClients,
    ),
    close: () => files.close(),
  };
}

/** TLS 1.2 suites with forward secrecy and authenticated encryption; those of TLS 1.3 all have both. */
const TLS12_CIPHERS = [
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
].join(':');

/** grpc-js sets the certificates when they come and when they change, each time without a choice of ciphers. */
export function restrictCiphers(server: Http2Server | Http2SecureServer): void {
  if (!('setSecureContext' in server)) return;
  const setSecureContext = server.setSecureContext.bind(server);
  server.setSecureContext = (options) =>
    setSecureContext({ ...options, ciphers: TLS12_CIPHERS, minVersion: 'TLSv1.2' });
}

type IdentityListener = experimental.IdentityCertificateUpdateListener;
type CaListener = experimental.CaCertificateUpdateListener;

/** What grpc-js asks for certificates; its own file watcher drops every connection while a file is half written. */
class Certificates implements experimental.CertificateProvider {
  private material: TlsMaterial | null = null;
  private readonly identityListeners = new Set<IdentityListener>();
  private readonly caListeners = new Set<CaListener>();

  /** New handshakes take these. */
  use(material: TlsMaterial): void {
    this.material = material;
    for (const listener of this.identityListeners) listener(material);
    for (const listener of this.caListeners) listener(caUpdate(material));
  }

  addIdentityCertificateListener(listener: IdentityListener): void {
    this.identityListeners.add(listener);
    // Not before the caller has put itself in order.
    process.nextTick(() => listener(this.material));
  }

  removeIdentityCertificateListener(listener: IdentityListener): void {
    this.identityListeners.delete(listener);
  }

  addCaCertificateListener(listener: CaListener): void {
    this.caListeners.add(listener);
    process.nextTick(() => listener(caUpdate(this.material)));
  }

  removeCaCertificateListener(listener: CaListener): void {
    this.caListeners.delete(listener);
  }
}

function caUpdate(material: TlsMaterial | null): experimental.CaCertificateUpdate | null {
  return material?.clientCa === undefined ? null : { caCertificate: material.clientCa };
}

async function readPem(setting: keyof TlsFiles, files: TlsFiles): Promise<Buffer> {
  try {
    return await readFile(files[setting]);
  } catch (error) {
    throw invalid(setting, files, 'cannot be read', error);
  }
}

function parsed<T>(setting: keyof TlsFiles, files: TlsFiles, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw invalid(setting, files, error instanceof Error ? error.message : String(error), error);
  }
}

function invalid(setting: keyof TlsFiles, files: TlsFiles, why: string, cause?: unknown): SaladError {
  return new SaladError('CONFIGURATION_INVALID', `${setting} ${files[setting]}: ${why}`, { cause });
}
