/** The sections of the settings: key, default, unit, bounds. */
import { z } from 'zod';
import { OBJECT_KINDS, PRIORITIES } from '../inbox/instance.js';

/** Longest delay of a timer of Node. */
const MS_MAX = 2 ** 31 - 1;
export const MIB_MAX = 2 ** 30;
/** A later time in the index is taken for that of a wrong clock. */
const COMMITMENT_MS_MAX = 3_600_000;

export const path = z.string().min(1);
const listen = z.string().regex(/^(\[[0-9a-f:.]+\]|[^[\]:\s]+):\d{1,5}$/i, 'must be HOST:PORT');
/**
 * PS3.5 section 6.2: 16 characters, no backslash, no control characters; blanks around it do not count. Without lookaround,
 * because Helm checks the values of helm/salad-modality with the same pattern.
 */
const aeTitle = z
  .string()
  .regex(
    /^[\x21-\x5b\x5d-\x7e]([\x20-\x5b\x5d-\x7e]{0,14}[\x21-\x5b\x5d-\x7e])?$/,
    'must be 1 to 16 printable ASCII characters without \\',
  );
const milliseconds = (byDefault: number) => z.int().min(100).max(MS_MAX).default(byDefault);
const priority = z.enum(PRIORITIES).default('routine');

const tls = {
  allowPlaintext: z
    .boolean()
    .default(false)
    .describe('Allows to listen beyond loopback without TLS, on a network that is protected otherwise.'),
  tlsCertFile: path.optional().describe('Certificate chain as PEM; turns on TLS, needs tlsKeyFile.'),
  tlsKeyFile: path.optional().describe('Private key as PEM.'),
  tlsClientCaFile: path
    .optional()
    .describe('Authorities as PEM; callers must then have a certificate of them.'),
};

export const dicomSection = z.strictObject({
  listen: listen.default('127.0.0.1:11112').describe('Address of the DICOM port; port 0 selects a free one.'),
  aeTitle: aeTitle.default('SALAD').describe('Application entity title that callers must call.'),
  callers: z
    .array(
      z.strictObject({
        aeTitle: aeTitle.describe('Application entity title of the modality.'),
        address: z
          .union([z.ipv4(), z.ipv6()])
          .optional()
          .describe('IP address that it must call from; any if left out.'),
        priority: priority.describe(
          '`stat`: all that it sends is scored first; else the priority of the C-STORE decides.',
        ),
      }),
    )
    .min(1)
    .describe('Who may send; everybody else is refused.'),
  ...tls,
  maxAssociations: z.int().min(1).max(1000).default(16).describe('More are refused for now.'),
  associationTimeoutMs: milliseconds(30_000).describe('From the connection to the end of the request.'),
  idleTimeoutMs: milliseconds(3_600_000).describe('Between operations; modalities may be idle for long.'),
  dataTimeoutMs: milliseconds(60_000).describe('Between two packets of one transfer.'),
});

export const stowSection = z.strictObject({
  listen: listen
    .default('127.0.0.1:8080')
    .describe('Address of the STOW-RS port; port 0 selects a free one.'),
  priority: priority.describe('Of everything that comes this way.'),
  tokenFile: path.optional().describe('File with a bearer token that every request must have.'),
  ...tls,
  maxConnections: z.int().min(1).max(1000).default(16).describe('More are refused.'),
  dataTimeoutMs: milliseconds(60_000).describe('Between two packets of a request.'),
});

export const watchSection = z.strictObject({
  path: path.describe('Folder that files are copied into; `refused/` in it takes what cannot be kept.'),
  priority: priority.describe('Of everything that comes this way.'),
  settleMs: milliseconds(2000).describe(
    'A file is complete when it has not changed for so long and has an end.',
  ),
  incompleteMs: milliseconds(600_000).describe('A file without an end is refused after so long.'),
  pollMs: milliseconds(1000).describe('How often the folder is read.'),
});

export const operationsSection = z.strictObject({
  listen: listen
    .default('127.0.0.1:8081')
    .describe('Address of the port of operations; port 0 selects a free one.'),
  ...tls,
});

export const destinationSection = z.strictObject({
  name: z
    .string()
    .regex(/^[\w.-]{1,32}$/, 'must be 1 to 32 letters, digits, dots, dashes or underscores')
    .describe('In status, show and the log. Results wait for it under this name.'),
  url: z
    .url({ protocol: /^https?$/ })
    .optional()
    .describe('DICOMweb service of the archive, such as `https://pacs.example/dicom-web`; or dicom.'),
  dicom: listen.optional().describe('HOST:PORT of the archive for C-STORE, instead of url.'),
  calledAeTitle: aeTitle.optional().describe('Of the archive; needed with dicom.'),
  callingAeTitle: aeTitle.default('SALAD').describe('Of this program, with dicom.'),
  authorizationFile: path
    .optional()
    .describe('File with the value of the header Authorization, such as `Bearer …` or `Basic …`.'),
  caFile: path
    .optional()
    .describe(
      'Trusted authorities (PEM): with url instead of those of the system, with dicom it turns on TLS.',
    ),
  allowPlaintext: z
    .boolean()
    .default(false)
    .describe('Allows http, or dicom without TLS, beyond loopback: reports hold names of patients.'),
  besidesReport: z
    .array(z.enum(OBJECT_KINDS).exclude(['report']))
    .default([])
    .describe(
      'What it gets of every result besides the structured report: `segmentation` (what lies above the threshold), ' +
        '`secondaryCapture` (a picture of the anomaly map over the image), `presentationState` (regions, GSPS).',
    ),
  timeoutMs: milliseconds(60_000).describe('Longest time of one request.'),
  storageCommitment: z
    .boolean()
    .default(false)
    .describe(
      'With dicom: a delivery ends when the archive commits the storage of its objects, not when it takes them. It reports to the DICOM port (section dicom), or on the association of the request.',
    ),
  commitmentTimeoutMs: z
    .int()
    .min(100)
    .max(COMMITMENT_MS_MAX)
    .default(300_000)
    .describe('With storageCommitment: without a report in this time the objects are sent again.'),
});

export const serverSection = z.strictObject({
  targets: z
    .array(z.string().min(1))
    .min(1)
    .describe('Addresses of salad-serve servers, HOST:PORT; the next one is tried where one fails.'),
  model: z
    .string()
    .regex(/^[^@\s]+(@\d{1,7})?$/, 'must be NAME or NAME@VERSION')
    .describe('Model that scores.'),
  maxFalsePositiveRate: z
    .number()
    .gt(0)
    .lt(1)
    .optional()
    .describe('Of the decision, instead of the default of the model.'),
  tls: z.boolean().default(false).describe('TLS, trusting the authorities of the system.'),
  caFile: path.optional().describe('TLS, trusting these authorities (PEM).'),
  certFile: path.optional().describe('Client certificate (PEM), needs keyFile.'),
  keyFile: path.optional().describe('Private key (PEM).'),
  tokenFile: path.optional().describe('File with a bearer token.'),
  apiKeyFile: path.optional().describe('File with an API key.'),
  concurrency: z
    .int()
    .min(1)
    .max(64)
    .default(1)
    .describe('Instances that are sent at a time; one more for STAT.'),
  statTimeoutMs: milliseconds(60_000).describe('Deadline of one attempt of a STAT instance.'),
  routineTimeoutMs: milliseconds(600_000).describe('Deadline of one attempt of another instance.'),
});
