/** Section "Security". */
import { optionalText, toggle, whole } from './field.js';
import type { SettingsOf } from './section.js';

export const SECURITY_FIELDS = {
  tlsCertFile: optionalText({
    env: 'SALAD_TLS_CERT_FILE',
    default: '',
    allowed: 'a path or empty',
    description:
      "PEM file of the server's certificate and its chain; with it and tlsKeyFile the port uses TLS.",
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
      'PEM file of the authorities that must have issued client certificates; if it is set, every client needs a certificate.',
  }),
  allowPlaintext: toggle({
    env: 'SALAD_ALLOW_PLAINTEXT',
    default: false,
    description:
      'Allows the port to listen beyond loopback without TLS, because a mesh or a proxy encrypts; otherwise the server refuses to start.',
  }),
  securityReloadMs: whole({
    env: 'SALAD_SECURITY_RELOAD_MS',
    default: 10_000,
    unit: 'ms',
    min: 10,
    max: 86_400_000,
    description:
      'Interval at which the files of certificates, keys and API keys are checked for changes; new connections and calls use the changed files, open ones continue unchanged.',
  }),
  authJwks: optionalText({
    env: 'SALAD_AUTH_JWKS',
    default: '',
    allowed: 'a path, an https:// URL or empty',
    description:
      'JSON Web Key Set with the public keys of the issuer of bearer tokens; needs authIssuer and authAudience.',
  }),
  authIssuer: optionalText({
    env: 'SALAD_AUTH_ISSUER',
    default: '',
    allowed: 'text',
    description: 'Required value of the claim `iss` of a token.',
  }),
  authAudience: optionalText({
    env: 'SALAD_AUTH_AUDIENCE',
    default: '',
    allowed: 'text',
    description: 'Required value of the claim `aud` of a token.',
  }),
  authClockSkewMs: whole({
    env: 'SALAD_AUTH_CLOCK_SKEW_MS',
    default: 30_000,
    unit: 'ms',
    min: 0,
    max: 600_000,
    description: "Tolerated difference of the issuer's clock when a token's `exp` and `nbf` are checked.",
  }),
  authApiKeysFile: optionalText({
    env: 'SALAD_AUTH_API_KEYS_FILE',
    default: '',
    allowed: 'a path or empty',
    description: 'YAML file of hashed API keys; `salad config make-key` creates a key and its entry.',
  }),
  admin: toggle({
    env: 'SALAD_ADMIN',
    default: false,
    description: 'Offers the calls that change the server to identities with the scope `admin`.',
  }),
} as const;

export type SecurityConfig = SettingsOf<typeof SECURITY_FIELDS>;
