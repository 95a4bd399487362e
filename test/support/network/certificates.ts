/** Authorities and certificates of a test's own, as PEM. */
import { webcrypto } from 'node:crypto';
import 'reflect-metadata';
import * as x509 from '@peculiar/x509';

x509.cryptoProvider.set(webcrypto);
const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const DAY_MS = 86_400_000;

export interface Certificate {
  /** PEM. */
  readonly certificate: string;
  /** PKCS #8 as PEM. */
  readonly privateKey: string;
}

export interface Wish {
  readonly commonName: string;
  /** DNS names beside 127.0.0.1 and localhost. */
  readonly dnsNames?: readonly string[];
  /** Negative: it expired so long ago. @default 10 */
  readonly daysLeft?: number;
}

export interface Authority {
  /** PEM. */
  readonly certificate: string;
  issue(wish: Wish): Promise<Certificate>;
}

export async function makeAuthority(commonName = 'test authority'): Promise<Authority> {
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const root = await x509.X509CertificateGenerator.createSelfSigned({
    name: `CN=${commonName}`,
    notBefore: new Date(Date.now() - 20 * DAY_MS),
    notAfter: new Date(Date.now() + 20 * DAY_MS),
    signingAlgorithm: ALGORITHM,
    keys: keys,
    extensions: [new x509.BasicConstraintsExtension(true, 0, true)],
  });
  return {
    certificate: root.toString('pem'),
    async issue({ commonName: name, dnsNames = [], daysLeft = 10 }) {
      const own = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
      const names = new x509.SubjectAlternativeNameExtension([
        { type: 'ip', value: '127.0.0.1' },
        ...['localhost', ...dnsNames].map((value) => ({ type: 'dns' as const, value })),
      ]);
      const certificate = await x509.X509CertificateGenerator.create({
        subject: `CN=${name}`,
        issuer: root.subject,
        notBefore: new Date(Date.now() - 15 * DAY_MS),
        notAfter: new Date(Date.now() + daysLeft * DAY_MS),
        signingAlgorithm: ALGORITHM,
        publicKey: own.publicKey,
        signingKey: keys.privateKey,
        extensions: [new x509.BasicConstraintsExtension(false), names],
      });
      const bytes = await webcrypto.subtle.exportKey('pkcs8', own.privateKey);
      return {
        certificate: certificate.toString('pem'),
        privateKey: x509.PemConverter.encode(bytes, 'PRIVATE KEY'),
      };
    },
  };
}
