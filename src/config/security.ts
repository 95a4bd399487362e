/** Who may connect, and what is proven to whom. */
import { optionalText, toggle, whole } from './field.js';

export const SECURITY_FIELDS = {
  tlsCertFile: optionalText({
    env: 'SALAD_TLS_CERT_FILE',
    default: '',
    allowed: 'a path or empty',
    description: "PEM file of the server's certificate and its chain; with tlsKeyFile the port speaks TLS.",
  }),
  tlsKeyFile: optionalText({
    env: 'SALAD_TLS_KEY_FILE',
    default: '',
    allowed: 'a path or empty',
    description: 'PEM file of the private key, without a passphrase.',
  }),
  tlsClientCaFile: optionalText({
    env: 'SALAD_TLS_CLIENT_CA_FILE',
    default: '',
    allowed: 'a path or empty',
    description:
      'PEM file of the authorities that client certificates must come from; where it is set, nobody connects without one.',
  }),
  tlsReloadMs: whole({
    env: 'SALAD_TLS_RELOAD_MS',
    default: 10_000,
    unit: 'ms',
    min: 10,
    max: 86_400_000,
    description:
      'How often the three files are looked at; new handshakes use what has changed, open connections live on.',
  }),
  allowPlaintext: toggle({
    env: 'SALAD_ALLOW_PLAINTEXT',
    default: false,
    description:
      'Listen beyond loopback without TLS, where a mesh or a proxy encrypts; otherwise such a start is refused.',
  }),
} as const;
