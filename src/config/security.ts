/** Who may connect, and what is proven to whom. */
import { optionalAddress, optionalText, toggle, whole } from './field.js';

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
  securityReloadMs: whole({
    env: 'SALAD_SECURITY_RELOAD_MS',
    default: 10_000,
    unit: 'ms',
    min: 10,
    max: 86_400_000,
    description:
      'How often the files of certificates, keys and API keys are looked at; what has changed serves new connections and calls, open ones live on.',
  }),
  allowPlaintext: toggle({
    env: 'SALAD_ALLOW_PLAINTEXT',
    default: false,
    description:
      'Listen beyond loopback without TLS, where a mesh or a proxy encrypts; otherwise such a start is refused.',
  }),
  healthListen: optionalAddress({
    env: 'SALAD_HEALTH_LISTEN',
    default: '',
    description:
      'Second address that answers grpc.health.v1 and nothing else, in plaintext and to anybody, for probes that speak no TLS; empty means none.',
  }),
  authJwks: optionalText({
    env: 'SALAD_AUTH_JWKS',
    default: '',
    allowed: 'a path, an https:// URL or empty',
    description:
      'Public keys (JSON Web Key Set) that bearer tokens are signed with; needs authIssuer and authAudience.',
  }),
  authIssuer: optionalText({
    env: 'SALAD_AUTH_ISSUER',
    default: '',
    allowed: 'text',
    description: 'The `iss` that a token must have.',
  }),
  authAudience: optionalText({
    env: 'SALAD_AUTH_AUDIENCE',
    default: '',
    allowed: 'text',
    description: 'The `aud` that a token must have.',
  }),
  authClockSkewMs: whole({
    env: 'SALAD_AUTH_CLOCK_SKEW_MS',
    default: 30_000,
    unit: 'ms',
    min: 0,
    max: 600_000,
    description: "How far the issuer's clock may be off when a token's `exp` and `nbf` are looked at.",
  }),
  authApiKeysFile: optionalText({
    env: 'SALAD_AUTH_API_KEYS_FILE',
    default: '',
    allowed: 'a path or empty',
    description: 'YAML file of hashed API keys; `salad config make-key` makes a key and its entry.',
  }),
  admin: toggle({
    env: 'SALAD_ADMIN',
    default: false,
    description: 'Offer the calls that change the server, to identities with the scope `admin`.',
  }),
  identityMaxAcquisitions: whole({
    env: 'SALAD_IDENTITY_MAX_ACQUISITIONS',
    default: 0,
    unit: 'acquisitions',
    min: 0,
    max: 1_000_000,
    description: 'Most acquisitions one identity may have open; 0 means no limit but that of the server.',
  }),
  identityMaxBytesPerSecond: whole({
    env: 'SALAD_IDENTITY_MAX_BYTES_PER_SECOND',
    default: 0,
    unit: 'bytes/s',
    min: 0,
    max: 2 ** 40,
    description:
      'Request bytes of one identity, over all its calls; past it reading is paused, so that its clients wait. 0 means no limit.',
  }),
} as const;
