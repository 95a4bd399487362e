/**
 * The port's certificates: read from files, checked, and read again when the files change. A changed pair serves
 * new handshakes; connections that stand keep what they began with, so no stream breaks. Files are polled, not
 * watched: Kubernetes swaps a link two folders above them.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';
import { experimental, ServerCredentials } from '@grpc/grpc-js';
import type { ServeConfig } from '../config/schema.js';
import { SaladError } from '../errors/index.js';
import type { Logger } from '../telemetry/logger.js';

export type TlsFiles = Pick<ServeConfig, 'tlsCertFile' | 'tlsKeyFile' | 'tlsClientCaFile'>;

/** What the three files hold, found sound together. */
export interface TlsMaterial {
  readonly certificate: Buffer;
  readonly privateKey: Buffer;
  /** Authorities of client certificates; undefined where none is asked for. */
  readonly clientCa: Buffer | undefined;
  /** The first of the chain: the server's own. */
  readonly leaf: X509Certificate;
}

export interface PortCredentials {
  readonly credentials: ServerCredentials;
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
  return { certificate, privateKey, clientCa, leaf };
}

/** Plaintext where no certificate is set: that this is allowed, the configuration was asked before. */
export async function portCredentials(config: ServeConfig, logger: Logger): Promise<PortCredentials> {
  if (config.tlsCertFile === '') return { credentials: ServerCredentials.createInsecure(), close() {} };
  const certificates = new CertificateFiles(config, await readTlsMaterial(config), logger);
  const asksClients = config.tlsClientCaFile !== '';
  return {
    credentials: experimental.createCertificateProviderServerCredentials(
      certificates,
      asksClients ? certificates : null,
      asksClients,
    ),
    close: () => certificates.close(),
  };
}

/** What grpc-js asks for certificates; its own file watcher would drop every connection while a file is half written. */
class CertificateFiles implements experimental.CertificateProvider {
  private readonly identityListeners = new Set<experimental.IdentityCertificateUpdateListener>();
  private readonly caListeners = new Set<experimental.CaCertificateUpdateListener>();
  private readonly timer: NodeJS.Timeout;
  private reading = false;
  private refused = '';

  constructor(
    private readonly config: TlsFiles & Pick<ServeConfig, 'tlsReloadMs'>,
    private material: TlsMaterial,
    private readonly logger: Logger,
  ) {
    this.timer = setInterval(() => void this.look(), config.tlsReloadMs);
    this.timer.unref();
  }

  addIdentityCertificateListener(listener: experimental.IdentityCertificateUpdateListener): void {
    this.identityListeners.add(listener);
    // Not before the caller has put itself in order.
    process.nextTick(() => listener(this.material));
  }

  removeIdentityCertificateListener(listener: experimental.IdentityCertificateUpdateListener): void {
    this.identityListeners.delete(listener);
  }

  addCaCertificateListener(listener: experimental.CaCertificateUpdateListener): void {
    this.caListeners.add(listener);
    process.nextTick(() => listener(caUpdate(this.material)));
  }

  removeCaCertificateListener(listener: experimental.CaCertificateUpdateListener): void {
    this.caListeners.delete(listener);
  }

  close(): void {
    clearInterval(this.timer);
  }

  /** What is not sound (a file half written, a key without its certificate) is left for the next look. */
  private async look(): Promise<void> {
    if (this.reading) return;
    this.reading = true;
    try {
      const material = await readTlsMaterial(this.config);
      this.refused = '';
      if (!isSame(material, this.material)) this.use(material);
    } catch (error) {
      const why = SaladError.from(error).message;
      if (why !== this.refused) this.logger.warn({ why }, 'changed certificates are not used');
      this.refused = why;
    } finally {
      this.reading = false;
    }
  }

  private use(material: TlsMaterial): void {
    this.material = material;
    for (const listener of this.identityListeners) listener(material);
    for (const listener of this.caListeners) listener(caUpdate(material));
    const { subject, validTo, fingerprint256 } = material.leaf;
    this.logger.info({ subject, validTo, fingerprint256 }, 'new handshakes use the changed certificates');
  }
}

function caUpdate({ clientCa }: TlsMaterial): experimental.CaCertificateUpdate | null {
  return clientCa === undefined ? null : { caCertificate: clientCa };
}

function isSame(a: TlsMaterial, b: TlsMaterial): boolean {
  return (['certificate', 'privateKey', 'clientCa'] as const).every(
    (part) => a[part] === b[part] || (a[part] && b[part] && a[part].equals(b[part])),
  );
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
