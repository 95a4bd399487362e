/** The settings of the gateway: a YAML file, checked as a whole before anything starts. */
import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { parseDocument } from 'yaml';
import { z } from 'zod';
import { isLoopback, isLoopbackHost } from '../../../../src/config/loopback.js';
import { SaladError } from '../../../../src/errors/index.js';
import {
  destinationSection,
  dicomSection,
  MIB_MAX,
  operationsSection,
  path,
  serverSection,
  stowSection,
  watchSection,
} from './sections.js';

export const settingsSchema = z.strictObject({
  inbox: path.describe('Folder of the inbox, on a local disk. It holds data of patients.'),
  keepFreeMib: z
    .int()
    .min(1)
    .max(MIB_MAX)
    .default(1024)
    .describe('MiB of the disk that stay free: below, instances are refused.'),
  maxInstanceMib: z.int().min(1).max(MIB_MAX).default(1024).describe('Largest instance in MiB.'),
  keepDeliveredHours: z
    .int()
    .min(1)
    .max(1_000_000)
    .default(168)
    .describe(
      'After so many hours the files of delivered instances are removed; what is not delivered stays.',
    ),
  logLevel: z.enum(['silent', 'error', 'warn', 'info', 'debug']).default('info').describe('Log on stderr.'),
  dicom: dicomSection.optional().describe('The DICOM port (C-STORE).'),
  stow: stowSection.optional().describe('The STOW-RS port.'),
  watch: z.array(watchSection).default([]).describe('Watched folders.'),
  server: serverSection
    .optional()
    .describe('The salad-serve servers; without this section instances are kept and not scored.'),
  destinations: z
    .array(destinationSection)
    .default([])
    .describe(
      'Archives that get a structured report of every result, and what else `besidesReport` names, by STOW-RS or C-STORE.',
    ),
  operations: operationsSection
    .optional()
    .describe('HTTP port of operations: probes at /livez and /readyz, metrics for Prometheus at /metrics.'),
});

export type Settings = z.infer<typeof settingsSchema>;
export type PortSettings =
  | NonNullable<Settings['dicom']>
  | NonNullable<Settings['stow']>
  | NonNullable<Settings['operations']>;
export type DestinationSettings = Settings['destinations'][number];

/**
 * Reads the settings; paths are relative to the file.
 * @throws SaladError CONFIGURATION_INVALID, with everything that is wrong
 */
export async function readSettings(file: string): Promise<Settings> {
  const { inbox, watch, dicom, stow, server, destinations, operations, ...settings } = check(
    await read(file),
    file,
  );
  const folder = dirname(file);
  return {
    ...settings,
    inbox: resolve(folder, inbox),
    watch: watch.map((each) => ({ ...each, path: resolve(folder, each.path) })),
    dicom: dicom && resolveFiles(dicom, folder),
    stow: stow && resolveFiles(stow, folder),
    operations: operations && resolveFiles(operations, folder),
    server: server && resolveFiles(server, folder),
    destinations: destinations.map((each) => resolveFiles(each, folder)),
  };
}

/** Makes the values of all keys `...File` absolute. */
function resolveFiles<T extends object>(section: T, folder: string): T {
  const resolved = Object.entries(section).map(([key, value]) => [
    key,
    /File$/.test(key) && typeof value === 'string' ? resolve(folder, value) : value,
  ]);
  return Object.fromEntries(resolved) as T;
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
  const wrong = [
    ...(data.dicom ? portFaults('dicom', data.dicom) : []),
    ...(data.stow ? portFaults('stow', data.stow) : []),
    ...(data.operations ? portFaults('operations', data.operations) : []),
  ];
  wrong.push(...destinationFaults(data));
  if (!data.dicom && !data.stow && data.watch.length === 0) {
    wrong.push('nothing to receive from: give dicom, stow or watch');
  }
  if (wrong.length > 0) throw invalid(file, wrong);
  return data;
}

function destinationFaults({ destinations, server }: Settings): string[] {
  const faults: string[] = [];
  if (destinations.length > 0 && server === undefined) faults.push('destinations: results need server');
  const names = destinations.map(({ name }) => name);
  if (new Set(names).size < names.length) faults.push('destinations: names must differ');
  for (const each of destinations) {
    const { name, url, dicom, calledAeTitle, caFile, allowPlaintext, storageCommitment } = each;
    if ((url === undefined) === (dicom === undefined))
      faults.push(`destinations: ${name}: give url or dicom`);
    if (dicom !== undefined && calledAeTitle === undefined) {
      faults.push(`destinations: ${name}: dicom needs calledAeTitle`);
    }
    if (storageCommitment && dicom === undefined) {
      faults.push(
        `destinations: ${name}: storageCommitment needs dicom: STOW-RS has none, remove it or use dicom instead of url`,
      );
    }
    const isPlain = url === undefined ? caFile === undefined : new URL(url).protocol === 'http:';
    const isLocal = url === undefined ? isLoopback(dicom ?? '') : isLoopbackHost(new URL(url).hostname);
    if (isPlain && !isLocal && !allowPlaintext) {
      faults.push(
        `destinations: ${name}: plaintext beyond loopback: use https or caFile, or set allowPlaintext`,
      );
    }
  }
  return faults;
}

function portFaults(name: string, section: PortSettings): string[] {
  const { listen, allowPlaintext, tlsCertFile, tlsKeyFile, tlsClientCaFile } = section;
  const faults: string[] = [];
  if ((tlsCertFile === undefined) !== (tlsKeyFile === undefined)) {
    faults.push(`${name}.tlsCertFile and ${name}.tlsKeyFile need each other`);
  }
  if (tlsClientCaFile !== undefined && tlsCertFile === undefined) {
    faults.push(`${name}.tlsClientCaFile needs ${name}.tlsCertFile and ${name}.tlsKeyFile`);
  }
  if (isLoopback(listen)) return faults;
  if (tlsCertFile === undefined && !allowPlaintext) {
    faults.push(
      `${name}.listen: ${listen} is not loopback: set ${name}.tlsCertFile and ${name}.tlsKeyFile, or ` +
        `${name}.allowPlaintext`,
    );
  }
  // Only STOW-RS takes data from whoever connects.
  if (!('dataTimeoutMs' in section) || 'callers' in section) return faults;
  if (section.tokenFile !== undefined || tlsClientCaFile !== undefined) return faults;
  return [
    ...faults,
    `${name}.listen: ${listen} is not loopback: set ${name}.tokenFile or ${name}.tlsClientCaFile`,
  ];
}

function invalid(file: string, reasons: readonly string[]): SaladError {
  return new SaladError('CONFIGURATION_INVALID', `${file}: ${reasons.join('; ')}`);
}
