/** What a file that should hold PEM (RFC 7468) holds instead, in words: the errors of OpenSSL do not say it. */
import { createPrivateKey, X509Certificate } from 'node:crypto';

/** What a PEM file is for. */
export type PemKind = 'certificate' | 'private key';

const LABELS: Readonly<Record<PemKind, RegExp>> = {
  certificate: /-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----/,
  'private key': /-----BEGIN (?:\w+ )?PRIVATE KEY-----/,
};

const ENCRYPTED = /-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED/m;

/**
 * Says why a file is not the PEM file that a setting needs.
 * @param wanted of which the file must hold at least one
 * @returns such as `holds no PEM certificate: it is empty`; undefined where it holds what is wanted
 */
export function pemProblem(content: string | Uint8Array, wanted: PemKind): string | undefined {
  const text = typeof content === 'string' ? content : Buffer.from(content).toString('latin1');
  if (wanted === 'private key' && ENCRYPTED.test(text)) {
    return 'holds a private key with a passphrase: write it without (openssl pkey -in FILE -out FILE)';
  }
  if (LABELS[wanted].test(text)) {
    return isReadable(text, wanted) ? undefined : `holds a PEM ${wanted} that is damaged or incomplete`;
  }
  return `holds no PEM ${wanted}${instead(text, wanted)}`;
}

/** Whether the first block is valid; of several certificates, OpenSSL reads the others. */
function isReadable(text: string, wanted: PemKind): boolean {
  try {
    if (wanted === 'certificate') new X509Certificate(text);
    else createPrivateKey(text);
    return true;
  } catch {
    return false;
  }
}

/** What the file holds, where that shows which mistake was made. */
function instead(text: string, wanted: PemKind): string {
  if (text.trim() === '') return ': it is empty';
  const other = wanted === 'certificate' ? 'private key' : 'certificate';
  if (LABELS[other].test(text)) return `: it holds a ${other}`;
  // DER begins with the tag of a sequence and a length of two bytes.
  if (/^\x30\x82/.test(text)) return ': it is DER; convert it (openssl x509 or openssl pkey, -inform DER)';
  return ` (a block that begins with -----BEGIN ${wanted.toUpperCase()}-----)`;
}
