/**
 * The port's certificates: read from files, checked, and read again when the files change. New handshakes use the
 * changed pair; existing connections keep the one they started with, so that no stream ends.
 */
import { createHash, createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { Http2SecureServer, Http2Server } from 'node:http2';
import { createSecureContext } from 'node:tls';
import { experimental, ServerCredentials } from '@grpc/grpc-js';
import type { SecurityConfig } from '../config/sections/security.js';
import { SaladError, systemReason } from '../errors/index.js';
import type { Logger } from '../telemetry/logger.js';
import { type PemKind, pemProblem } from './pem.js';
import { type Digested, ReloadedValue } from './reloaded-value.js';

export type TlsFiles = Pick<SecurityConfig, 'tlsCertFile' | 'tlsKeyFile' | 'tlsClientCaFile'>;

/** Contents of the three files, checked together. */
export interface TlsMaterial extends Digested {
  readonly certificate: Buffer;
  readonly privateKey: Buffer;
  /** Authorities of client certificates; undefined where no client certificate is required. */
  readonly clientCa: Buffer | undefined;
  /** The server's own certificate: the first of the chain. */
  readonly leaf: X509Certificate;
}

export interface PortCredentials {
  readonly credentials: ServerCredentials;
  /** For the log. */
  readonly summary: string;
  /** Stops reloading files. */
  close(): void;
}

/**
 * Reads all files before it looks into one, each after the other, so that of several faults the same one is reported
 * each time.
 * @throws SaladError CONFIGURATION_INVALID with the invalid setting and file
 */
export async function readTlsMaterial(files: TlsFiles): Promise<TlsMaterial> {
  const certificate = await read('tlsCertFile', files);
  const privateKey = await read('tlsKeyFile', files);
  const clientCa = files.tlsClientCaFile === '' ? undefined : await read('tlsClientCaFile', files);
  checkPem('tlsCertFile', files, certificate, 'certificate');
  checkPem('tlsKeyFile', files, privateKey, 'private key');
  if (clientCa !== undefined) checkPem('tlsClientCaFile', files, clientCa, 'certificate');
  const leaf = parsePem('tlsCertFile', files, () => new X509Certificate(certificate));
  const key = parsePem('tlsKeyFile', files, () => createPrivateKey(privateKey));
  if (!leaf.checkPrivateKey(key)) {
    throw invalid('tlsKeyFile', files, `is not the key of the certificate in ${files.tlsCertFile}`);
  }
  const now = Date.now();
  if (Date.parse(leaf.validTo) < now) throw invalid('tlsCertFile', files, `expired on ${leaf.validTo}`);
  if (Date.parse(leaf.validFrom) > now) {
    throw invalid('tlsCertFile', files, `is not valid before ${leaf.validFrom}`);
  }
  if (clientCa !== undefined) parsePem('tlsClientCaFile', files, () => new X509Certificate(clientCa));
  parsePem('tlsCertFile', files, () =>
    createSecureContext({ cert: certificate, key: privateKey, ca: clientCa }),
  );
  const digest = createHash('sha256')
    .update(certificate)
    .update(privateKey)
    .update(clientCa ?? '')
    .digest('hex');
  return { certificate, privateKey, clientCa, leaf, digest };
}

/** Plaintext where no certificate is set: the configuration's own check has refused it where it is not allowed. */
export async function portCredentials(config: SecurityConfig, logger: Logger): Promise<PortCredentials> {
  if (config.tlsCertFile === '') {
    return { credentials: ServerCredentials.createInsecure(), summary: 'off', close() {} };
  }
  const certificates = new CertificateSource();
  const files = await ReloadedValue.open({
    read: () => readTlsMaterial(config),
    intervalMs: config.securityReloadMs,
    description: 'certificates',
    logger,
    onChange: (material) => certificates.use(material),
  });
  certificates.use(files.value);
  const requiresClientCertificate = config.tlsClientCaFile !== '';
  const { leaf } = files.value;
  const clients = requiresClientCertificate ? ', client certificates required' : '';
  return {
    summary: `certificate of ${leaf.subject || leaf.subjectAltName}, valid until ${leaf.validTo}${clients}`,
    credentials: experimental.createCertificateProviderServerCredentials(
      certificates,
      requiresClientCertificate ? certificates : null,
      requiresClientCertificate,
    ),
    close: () => files.close(),
  };
}

/** TLS 1.2 suites with forward secrecy and authenticated encryption; all suites of TLS 1.3 have both. */
const TLS12_CIPHERS = [
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
].join(':');

/** Sets the ciphers whenever grpc-js sets certificates (at the start and at every change): grpc-js sets none. */
export function restrictCiphers(server: Http2Server | Http2SecureServer): void {
  if (!('setSecureContext' in server)) return;
  const setSecureContext = server.setSecureContext.bind(server);
  server.setSecureContext = (options) =>
    setSecureContext({ ...options, ciphers: TLS12_CIPHERS, minVersion: 'TLSv1.2' });
}

type IdentityListener = experimental.IdentityCertificateUpdateListener;
type CaListener = experimental.CaCertificateUpdateListener;

/** Provides certificates to grpc-js, whose own file watcher drops every connection while a file is half written. */
class CertificateSource implements experimental.CertificateProvider {
  private material: TlsMaterial | null = null;
  private readonly identityListeners = new Set<IdentityListener>();
  private readonly caListeners = new Set<CaListener>();

  /** Sets the certificates of new handshakes. */
  use(material: TlsMaterial): void {
    this.material = material;
    for (const listener of this.identityListeners) listener(material);
    for (const listener of this.caListeners) listener(caUpdate(material));
  }

  addIdentityCertificateListener(listener: IdentityListener): void {
    this.identityListeners.add(listener);
    // Deferred, because the caller has not finished its own initialisation.
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

async function read(setting: keyof TlsFiles, files: TlsFiles): Promise<Buffer> {
  try {
    return await readFile(files[setting]);
  } catch (error) {
    throw invalid(setting, files, `cannot be read: ${systemReason(error)}`, error);
  }
}

function checkPem(setting: keyof TlsFiles, files: TlsFiles, content: Buffer, wanted: PemKind): void {
  const problem = pemProblem(content, wanted);
  if (problem !== undefined) throw invalid(setting, files, problem);
}

function parsePem<T>(setting: keyof TlsFiles, files: TlsFiles, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw invalid(setting, files, error instanceof Error ? error.message : String(error), error);
  }
}

function invalid(setting: keyof TlsFiles, files: TlsFiles, why: string, cause?: unknown): SaladError {
  return new SaladError('CONFIGURATION_INVALID', `${setting} ${files[setting]}: ${why}`, { cause });
}
