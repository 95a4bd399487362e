/** The running gateway: inbox and DICOM port. */
import { readFile } from 'node:fs/promises';
import { DicomPort, type DicomPortOptions } from '../dicom-port/port.js';
import { Inbox } from '../inbox/inbox.js';
import type { GatewayLog } from './log.js';
import type { Settings } from './settings.js';

const MIB = 1024 * 1024;
/** Offered to callers: large enough that a mammogram takes few PDUs. */
const PDU_BYTES_MAX = 128 * 1024;
/** For operations under way when the gateway stops. */
const GRACE_MS = 30_000;

export interface Gateway {
  /** Where the DICOM port listens. */
  readonly dicomPort: number;
  /** Lets operations finish, then closes everything. */
  stop(): Promise<void>;
}

/** @throws SaladError CONFIGURATION_INVALID, ADDRESS_UNAVAILABLE; errors of the operating system */
export async function startGateway(settings: Settings, log: GatewayLog): Promise<Gateway> {
  const tls = await tlsOf(settings.dicom);
  const inbox = await Inbox.open(settings.inbox, {
    keepFreeBytes: settings.keepFreeMib * MIB,
    instanceBytesMax: settings.maxInstanceMib * MIB,
  });
  log.recovered(inbox.recovery);
  try {
    const port = await DicomPort.listen({ ...portOptions(settings.dicom), inbox, events: log, tls });
    log.ready(port.port);
    return {
      dicomPort: port.port,
      async stop() {
        log.stopping();
        await port.close(GRACE_MS);
        inbox.close();
        log.stopped();
      },
    };
  } catch (error) {
    inbox.close();
    throw error;
  }
}

function portOptions(dicom: Settings['dicom']): Omit<DicomPortOptions, 'inbox' | 'events' | 'tls'> {
  const colon = dicom.listen.lastIndexOf(':');
  return {
    host: dicom.listen.slice(0, colon).replace(/^\[(.*)\]$/, '$1'),
    port: Number(dicom.listen.slice(colon + 1)),
    aeTitle: dicom.aeTitle,
    callers: dicom.callers,
    associationsMax: dicom.maxAssociations,
    pduBytesMax: PDU_BYTES_MAX,
    associationMs: dicom.associationTimeoutMs,
    idleMs: dicom.idleTimeoutMs,
    dataMs: dicom.dataTimeoutMs,
  };
}

async function tlsOf(dicom: Settings['dicom']): Promise<DicomPortOptions['tls']> {
  const { tlsCertFile, tlsKeyFile, tlsClientCaFile } = dicom;
  if (tlsCertFile === undefined || tlsKeyFile === undefined) return undefined;
  const [cert, key] = [await readFile(tlsCertFile), await readFile(tlsKeyFile)];
  if (tlsClientCaFile === undefined) return { cert, key };
  return { cert, key, ca: await readFile(tlsClientCaFile), requestCert: true };
}
