/** The settings of the gateway: a YAML file, checked as a whole before anything starts. */
import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { parseDocument } from 'yaml';
import { z } from 'zod';
import { isLoopback } from '../../../../src/config/loopback.js';
import { SaladError } from '../../../../src/errors/index.js';
import { PRIORITIES } from '../inbox/instance.js';

/** Longest delay of a timer of Node. */
const MS_MAX = 2 ** 31 - 1;
const MIB_MAX = 2 ** 30;

const path = z.string().min(1);
const listen = z.string().regex(/^(\[[0-9a-f:.]+\]|[^[\]:\s]+):\d{1,5}$/i, 'must be HOST:PORT');
/** PS3.5 section 6.2: 16 characters, no backslash, no control characters; blanks around it do not count. */
const aeTitle = z
  .string()
  .regex(/^(?! )[\x20-\x5b\x5d-\x7e]{1,16}(?<! )$/, 'must be 1 to 16 printable ASCII characters without \\');
const milliseconds = (byDefault: number) => z.int().min(100).max(MS_MAX).default(byDefault);

const dicom = z.strictObject({
  listen: listen.default('127.0.0.1:11112').describe('Address of the DICOM port; port 0 selects a free one.'),
  aeTitle: aeTitle.default('SALAD').describe('Application entity title that callers must call.'),
  callers: z
    .array(
      z.strictObject({
        aeTitle: aeTitle.describe('Application entity title of the modality.'),
        address: z.union([z.ipv4(), z.ipv6()]).optional().describe('IP address that it must call from.'),
        priority: z
          .enum(PRIORITIES)
          .default('routine')
          .describe('stat: all that it sends is scored first; else its C-STORE priority decides.'),
      }),
    )
    .min(1)
    .describe('Who may send; everybody else is refused.'),
  allowPlaintext: z
    .boolean()
    .default(false)
    .describe('Allows to listen beyond loopback without TLS, on a network that is protected otherwise.'),
  tlsCertFile: path.optional().describe('Certificate chain as PEM; turns on TLS, needs tlsKeyFile.'),
  tlsKeyFile: path.optional().describe('Private key as PEM.'),
  tlsClientCaFile: path
    .optional()
    .describe('Authorities as PEM; callers must then have a certificate of them.'),
  maxAssociations: z.int().min(1).max(1000).default(16).describe('More are refused for now.'),
  associationTimeoutMs: milliseconds(30_000).describe('From the connection to the end of the request.'),
  idleTimeoutMs: milliseconds(3_600_000).describe('Between operations; modalities may be idle for long.'),
  dataTimeoutMs: milliseconds(60_000).describe('Between two packets of one transfer.'),
});

const settingsSchema = z.strictObject({
  inbox: path.describe('Folder of the inbox, on a local disk. It holds data of patients.'),
  keepFreeMib: z
    .int()
    .min(1)
    .max(MIB_MAX)
    .default(1024)
    .describe('MiB of the disk that stay free: below, instances are refused.'),
  maxInstanceMib: z.int().min(1).max(MIB_MAX).default(1024).describe('Largest instance in MiB.'),
  logLevel: z.enum(['silent', 'error', 'warn', 'info', 'debug']).default('info').describe('Log on stderr.'),
  dicom,
});

export type Settings = z.infer<typeof settingsSchema>;

/**
 * Reads the settings; paths are relative to the file.
 * @throws SaladError CONFIGURATION_INVALID, with everything that is wrong
 */
export async function readSettings(file: string): Promise<Settings> {
  const settings = check(await read(file), file);
  const at = (name: string) => resolve(dirname(file), name);
  const { tlsCertFile, tlsKeyFile, tlsClientCaFile } = settings.dicom;
  return {
    ...settings,
    inbox: at(settings.inbox),
    dicom: {
      ...settings.dicom,
      ...(tlsCertFile === undefined ? {} : { tlsCertFile: at(tlsCertFile) }),
      ...(tlsKeyFile === undefined ? {} : { tlsKeyFile: at(tlsKeyFile) }),
      ...(tlsClientCaFile === undefined ? {} : { tlsClientCaFile: at(tlsClientCaFile) }),
    },
  };
}

async function read(file: string): Promise<unknown> {
  const text = await readFile(file, 'utf8').catch((error: Error) => {
    throw invalid(file, [error.message]);
  });
  const document = parseDocument(text);
  if (document.errors.length > 0) throw invalid(file, [document.errors[0]!.message]);
  return document.toJS() ?? {};
}

function check(value: unknown, file: string): Settings {
  const { success, data, error } = settingsSchema.safeParse(value);
  if (!success) {
    throw invalid(
      file,
      error.issues.map(({ path: at, message }) => `${at.join('.') || 'the file'}: ${message}`),
    );
  }
  const { listen: address, allowPlaintext, tlsCertFile, tlsKeyFile, tlsClientCaFile } = data.dicom;
  const wrong: string[] = [];
  if ((tlsCertFile === undefined) !== (tlsKeyFile === undefined)) {
    wrong.push('dicom.tlsCertFile and dicom.tlsKeyFile need each other');
  }
  if (tlsClientCaFile !== undefined && tlsCertFile === undefined) {
    wrong.push('dicom.tlsClientCaFile needs dicom.tlsCertFile and dicom.tlsKeyFile');
  }
  if (!isLoopback(address) && tlsCertFile === undefined && !allowPlaintext) {
    wrong.push(
      `dicom.listen: ${address} is not loopback: set dicom.tlsCertFile and dicom.tlsKeyFile, or dicom.allowPlaintext`,
    );
  }
  if (wrong.length > 0) throw invalid(file, wrong);
  return data;
}

function invalid(file: string, reasons: readonly string[]): SaladError {
  return new SaladError('CONFIGURATION_INVALID', `${file}: ${reasons.join('; ')}`);
}
