/** The running gateway: its inputs, the inbox, the scorer, the deliverer, and the port of operations. */
import { readFile } from 'node:fs/promises';
import { targetOptions } from '../../../../src/cli/shared/target.js';
import { DicomDecoder } from '../../../../src/dicom/decoder/dicom-decoder.js';
import { SaladError } from '../../../../src/errors/index.js';
import { Deliverer, type Destination } from '../delivery/deliverer.js';
import { DicomPort, type DicomPortOptions } from '../dicom-port/port.js';
import { Inbox } from '../inbox/inbox.js';
import { OBJECT_KINDS, type WantedObjects } from '../inbox/instance.js';
import { collectBuffers } from '../memory/collector.js';
import { inTurn } from '../operations/events.js';
import { orphanedOf, readFigures } from '../operations/figures.js';
import { Readiness } from '../operations/readiness.js';
import { type Operations, startOperations } from '../operations/start-operations.js';
import { GatewayTelemetry } from '../operations/telemetry.js';
import { Scorer } from '../scoring/scorer.js';
import { Targets } from '../scoring/targets.js';
import { StowPort } from '../stow/stow-port.js';
import { WatchedFolder } from '../watched-folder/watched-folder.js';
import type { GatewayLog } from './log.js';
import type { DestinationSettings, PortSettings, Settings } from './settings.js';

const MIB = 1024 * 1024;
/** Offered to callers: large enough that a mammogram takes few PDUs. */
const PDU_BYTES_MAX = 128 * 1024;
const HOUR_MS = 3_600_000;
/** For operations under way when the gateway stops. */
const GRACE_MS = 30_000;

export interface Gateway {
  /** HOST:PORT of the ports that are open. */
  readonly dicom: string | undefined;
  readonly stow: string | undefined;
  readonly operations: string | undefined;
  /** Lets operations finish, then closes everything. */
  stop(): Promise<void>;
}

/** What is open, to be closed in the reverse order. */
type Closers = (() => Promise<void> | void)[];

/**
 * @param environment names the receiver of telemetry (OTEL_...)
 * @throws SaladError CONFIGURATION_INVALID, ADDRESS_UNAVAILABLE; errors of the operating system
 */
export async function startGateway(
  settings: Settings,
  log: GatewayLog,
  environment: NodeJS.ProcessEnv = {},
): Promise<Gateway> {
  const closers: Closers = [];
  const close = async () => {
    for (const closer of closers.reverse()) await closer();
  };
  try {
    closers.push(collectBuffers());
    const readiness = new Readiness();
    const operations = await openOperations(settings.operations, readiness, environment);
    closers.push(() => operations.close());
    const inbox = await openInbox(settings, log, closers);
    let openAssociations = () => 0;
    const telemetry = telemetryOf(settings, inbox, () => openAssociations());
    const events = inTurn<GatewayLog>(log, telemetry.events);
    closers.push(await startRemoval(inbox, settings.keepDeliveredHours * HOUR_MS, log));
    const wakeScorer = await startWork(settings, inbox, events, closers);
    const inputs = await startInputs(settings, inbox, waking(events, wakeScorer), closers);
    openAssociations = () => inputs.dicom?.open ?? 0;
    readiness.running(() => inbox.checkSpace());
    const { dicom, stow } = inputs;
    log.ready({ dicom: dicom?.port, stow: stow?.port, operations: operations.port });
    return {
      dicom: dicom && addressOf(settings.dicom!, dicom.port),
      stow: stow && addressOf(settings.stow!, stow.port),
      operations:
        operations.port === undefined ? undefined : addressOf(settings.operations!, operations.port),
      async stop() {
        readiness.stopping();
        log.stopping();
        await close();
        log.stopped();
      },
    };
  } catch (error) {
    await close();
    throw error;
  }
}

async function openOperations(
  section: Settings['operations'],
  readiness: Readiness,
  environment: NodeJS.ProcessEnv,
): Promise<Operations> {
  const listen = section && { ...endpointOf(section), tls: await tlsOf(section) };
  return startOperations(listen, () => readiness.reasonAgainst(), environment);
}

async function openInbox(settings: Settings, log: GatewayLog, closers: Closers): Promise<Inbox> {
  const inbox = await Inbox.open(settings.inbox, {
    keepFreeBytes: settings.keepFreeMib * MIB,
    instanceBytesMax: settings.maxInstanceMib * MIB,
  });
  closers.push(() => inbox.close());
  log.recovered(inbox.recovery);
  log.orphaned(orphanedOf(inbox.index.deliveryCounts(), namesOf(settings)));
  return inbox;
}

function telemetryOf(settings: Settings, { folders, index }: Inbox, openAssociations: () => number) {
  const keptFreeBytes = settings.keepFreeMib * MIB;
  const options = { folders, index, destinations: namesOf(settings), keptFreeBytes };
  return new GatewayTelemetry({ index, openAssociations, figures: () => readFigures(options) });
}

/** Starts what takes instances from the inbox. @returns what to call when one was received */
async function startWork(
  settings: Settings,
  inbox: Inbox,
  events: GatewayLog,
  closers: Closers,
): Promise<() => void> {
  const deliverer = await startDeliverer(settings.destinations, inbox, events, closers);
  const scored = wakingScored(events, () => deliverer.wake());
  const scorer = await startScorer(settings, inbox, scored, closers);
  return () => scorer?.wake();
}

/** Starts what puts instances into the inbox. All of it ends at the same time, so that the grace is not added up. */
async function startInputs(
  settings: Settings,
  inbox: Inbox,
  events: GatewayLog,
  closers: Closers,
): Promise<{ readonly stow: StowPort | undefined; readonly dicom: DicomPort | undefined }> {
  const inputs: Closers = [];
  closers.push(async () => {
    await Promise.all(inputs.map((closer) => closer()));
  });
  await startFolders(settings, inbox, events, inputs);
  const stow = await startStow(settings.stow, inbox, events, inputs);
  const dicom = await startDicom(settings.dicom, inbox, events, inputs);
  return { stow, dicom };
}

function namesOf({ destinations }: Settings): readonly string[] {
  return destinations.map(({ name }) => name);
}

async function destinationOf(settings: DestinationSettings): Promise<Destination> {
  const { name, url, dicom = '', timeoutMs, authorizationFile, caFile } = settings;
  const ca = caFile === undefined ? undefined : await readFile(caFile);
  if (url === undefined) {
    const { calledAeTitle = '', callingAeTitle } = settings;
    return { name, ...endpointOf({ listen: dicom }), calledAeTitle, callingAeTitle, ca, timeoutMs };
  }
  const authorization =
    authorizationFile === undefined ? undefined : (await readFile(authorizationFile, 'utf8')).trim();
  return { name, url, authorization, ca, timeoutMs };
}

function wantedOf({ name, besidesReport }: DestinationSettings): WantedObjects {
  const wanted = new Set<string>(['report', ...besidesReport]);
  return { destination: name, kinds: OBJECT_KINDS.filter((kind) => wanted.has(kind)) };
}

/** Removes files of delivered instances now, and every hour. @returns what ends it */
async function startRemoval(inbox: Inbox, keepMs: number, log: GatewayLog): Promise<() => Promise<void>> {
  let running = Promise.resolve();
  const remove = async () => {
    try {
      log.removed(await inbox.removeDelivered(keepMs));
    } catch (error) {
      log.indexFailed(SaladError.from(error));
    }
  };
  await remove();
  const timer = setInterval(() => {
    running = remove();
  }, HOUR_MS);
  return async () => {
    clearInterval(timer);
    await running;
  };
}

/** The same events; those of a received instance also wake the scorer. */
function waking(log: GatewayLog, wake: () => void): GatewayLog {
  const { stored, stowed, taken } = log;
  return { ...log, stored: after(stored, wake), stowed: after(stowed, wake), taken: after(taken, wake) };
}

/** The same events; that of a scored instance also wakes the deliverer. */
function wakingScored(log: GatewayLog, wake: () => void): GatewayLog {
  return { ...log, scored: after(log.scored, wake) };
}

function after<T extends readonly unknown[]>(event: (...details: T) => void, wake: () => void) {
  return (...details: T) => {
    event(...details);
    wake();
  };
}

async function startDeliverer(
  settings: readonly DestinationSettings[],
  inbox: Inbox,
  events: GatewayLog,
  closers: Closers,
): Promise<Deliverer> {
  const destinations = await Promise.all(settings.map(destinationOf));
  const deliverer = new Deliverer({ inbox, destinations, events });
  deliverer.start();
  closers.push(() => deliverer.stop());
  return deliverer;
}

async function startScorer(
  { server: settings, destinations }: Settings,
  inbox: Inbox,
  log: GatewayLog,
  closers: Closers,
): Promise<Scorer | undefined> {
  if (settings === undefined) return undefined;
  const { targets, model, tls, caFile, certFile, keyFile, tokenFile, apiKeyFile } = settings;
  const given = { tls: tls || undefined, caFile, certFile, keyFile, tokenFile, apiKeyFile };
  const flags = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  const options = await Promise.all(
    targets.map(async (target) => ({ target, options: await targetOptions({ ...flags, target }, {}) })),
  );
  const [name = '', version] = model.split('@');
  const scorer = new Scorer({
    inbox,
    targets: new Targets(options),
    destinations: destinations.map(wantedOf),
    model: { name, ...(version === undefined ? {} : { version: Number(version) }) },
    maxFalsePositiveRate: settings.maxFalsePositiveRate,
    concurrency: settings.concurrency,
    timeoutMs: { stat: settings.statTimeoutMs, routine: settings.routineTimeoutMs },
    events: log,
  });
  scorer.start();
  closers.push(() => scorer.stop());
  return scorer;
}

async function startFolders(
  { watch }: Settings,
  inbox: Inbox,
  events: GatewayLog,
  closers: Closers,
): Promise<void> {
  if (watch.length === 0) return;
  const decoder = new DicomDecoder({ processes: 1 });
  const folders: WatchedFolder[] = [];
  closers.push(async () => {
    await Promise.all(folders.map((folder) => folder.stop()));
    await decoder.close();
  });
  for (const section of watch) {
    const folder = new WatchedFolder({ ...section, inbox, decoder, events });
    await folder.start();
    folders.push(folder);
  }
}

async function startStow(
  section: Settings['stow'],
  inbox: Inbox,
  events: GatewayLog,
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
  events: GatewayLog,
  closers: Closers,
): Promise<DicomPort | undefined> {
  if (section === undefined) return undefined;
  const { aeTitle, callers } = section;
  const port = await DicomPort.listen({
    ...{ inbox, events, aeTitle, callers, ...endpointOf(section) },
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

function endpointOf({ listen }: Pick<PortSettings, 'listen'>): {
  readonly host: string;
  readonly port: number;
} {
  const colon = listen.lastIndexOf(':');
  return { host: listen.slice(0, colon).replace(/^\[(.*)\]$/, '$1'), port: Number(listen.slice(colon + 1)) };
}

function addressOf({ listen }: PortSettings, port: number): string {
  return `${listen.slice(0, listen.lastIndexOf(':'))}:${port}`;
}

async function tlsOf(section: PortSettings): Promise<DicomPortOptions['tls']> {
  const { tlsCertFile, tlsKeyFile, tlsClientCaFile } = section;
  if (tlsCertFile === undefined || tlsKeyFile === undefined) return undefined;
  const [cert, key] = [await readFile(tlsCertFile), await readFile(tlsKeyFile)];
  if (tlsClientCaFile === undefined) return { cert, key };
  return { cert, key, ca: await readFile(tlsClientCaFile), requestCert: true };
}
