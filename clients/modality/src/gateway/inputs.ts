/** The inputs of the gateway: what puts instances into the inbox. */
import { readFile } from 'node:fs/promises';
import { DicomDecoder } from '../../../../src/dicom/decoder/dicom-decoder.js';
import type { ReportReceiver } from '../dicom-port/commitment-report.js';
import { DicomPort } from '../dicom-port/port.js';
import type { Inbox } from '../inbox/inbox.js';
import type { GatewayEvents } from '../operations/events.js';
import { StowPort } from '../stow/stow-port.js';
import { placesForCalls } from '../watched-folder/folder-calls.js';
import { WatchedFolder } from '../watched-folder/watched-folder.js';
import { endpointOf, tlsOf } from './endpoints.js';
import type { Settings } from './settings.js';

/** Offered to callers: large enough that a mammogram takes few PDUs. */
const PDU_BYTES_MAX = 128 * 1024;
/** For operations under way when the gateway stops. */
const GRACE_MS = 30_000;

/** What is open, to be closed in the reverse order. */
export type Closers = (() => Promise<void> | void)[];

export interface Inputs {
  readonly folders: readonly WatchedFolder[];
  readonly stow: StowPort | undefined;
  readonly dicom: DicomPort | undefined;
}

/** Starts all of them; they end at the same time, so that the grace is not added up. */
export async function startInputs(
  settings: Settings,
  inbox: Inbox,
  events: GatewayEvents,
  reports: ReportReceiver,
  closers: Closers,
): Promise<Inputs> {
  const inputs: Closers = [];
  closers.push(async () => {
    await Promise.all(inputs.map((closer) => closer()));
  });
  // The ports first: a folder may wait for a file system that does not answer.
  const stow = await startStow(settings.stow, inbox, events, inputs);
  const dicom = await startDicom(settings.dicom, inbox, events, reports, inputs);
  const folders = await startFolders(settings, inbox, events, inputs);
  return { folders, stow, dicom };
}

async function startFolders(
  { watch }: Settings,
  inbox: Inbox,
  events: GatewayEvents,
  closers: Closers,
): Promise<readonly WatchedFolder[]> {
  if (watch.length === 0) return [];
  const decoder = new DicomDecoder({ processes: 1 });
  const places = placesForCalls();
  const folders = watch.map((section) => new WatchedFolder({ ...section, inbox, decoder, places, events }));
  closers.push(async () => {
    await Promise.all(folders.map((folder) => folder.stop(GRACE_MS)));
    await decoder.close();
  });
  // At the same time: each may wait for a file system that does not answer.
  await Promise.all(folders.map((folder) => folder.start()));
  return folders;
}

async function startStow(
  section: Settings['stow'],
  inbox: Inbox,
  events: GatewayEvents,
  closers: Closers,
): Promise<StowPort | undefined> {
  if (section === undefined) return undefined;
  const { priority, tokenFile, maxConnections, dataTimeoutMs } = section;
  const port = await StowPort.listen({
    ...{ inbox, events, priority, ...endpointOf(section) },
    token: tokenFile === undefined ? undefined : (await readFile(tokenFile, 'utf8')).trim(),
    tls: await tlsOf(section),
    connectionsMax: maxConnections,
    dataMs: dataTimeoutMs,
  });
  closers.push(() => port.close(GRACE_MS));
  return port;
}

async function startDicom(
  section: Settings['dicom'],
  inbox: Inbox,
  events: GatewayEvents,
  reports: ReportReceiver,
  closers: Closers,
): Promise<DicomPort | undefined> {
  if (section === undefined) return undefined;
  const { aeTitle, callers } = section;
  const port = await DicomPort.listen({
    ...{ inbox, events, aeTitle, callers, reports, ...endpointOf(section) },
    tls: await tlsOf(section),
    associationsMax: section.maxAssociations,
    pduBytesMax: PDU_BYTES_MAX,
    associationMs: section.associationTimeoutMs,
    idleMs: section.idleTimeoutMs,
    dataMs: section.dataTimeoutMs,
  });
  closers.push(() => port.close(GRACE_MS));
  return port;
}
