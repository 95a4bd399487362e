/** The running gateway: its inputs, the inbox, the scorer, the deliverer, and the port of operations. */
import { readFile } from 'node:fs/promises';
import { targetOptions } from '../../../../src/cli/shared/target.js';
import { SaladError } from '../../../../src/errors/index.js';
import { Deliverer, type Destination } from '../delivery/deliverer.js';
import type { ReportReceiver } from '../dicom-port/commitment-report.js';
import { Inbox } from '../inbox/inbox.js';
import { OBJECT_KINDS, type WantedObjects } from '../inbox/instance.js';
import { collectBuffers } from '../memory/collector.js';
import { inTurn } from '../operations/events.js';
import { orphanedOf, readFigures } from '../operations/figures.js';
import { Readiness } from '../operations/readiness.js';
import { type Operations, startOperations } from '../operations/start-operations.js';
import { GatewayTelemetry } from '../operations/telemetry.js';
import { type GatewayTraces, traceMetadata } from '../operations/traces.js';
import { Scorer } from '../scoring/scorer.js';
import { Targets } from '../scoring/targets.js';
import { addressOf, endpointOf, tlsOf } from './endpoints.js';
import { type Closers, type Inputs, startInputs } from './inputs.js';
import type { GatewayLog } from './log.js';
import type { DestinationSettings, Settings } from './settings.js';

const MIB = 1024 * 1024;
const HOUR_MS = 3_600_000;

export interface Gateway {
  /** HOST:PORT of the ports that are open. */
  readonly dicom: string | undefined;
  readonly stow: string | undefined;
  readonly operations: string | undefined;
  /** Lets operations finish, then closes everything. */
  stop(): Promise<void>;
}

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
    let inputs: Inputs | undefined;
    const telemetry = telemetryOf(settings, inbox, () => inputs);
    const events = inTurn<GatewayLog>(log, telemetry.events);
    closers.push(await startRemoval(inbox, settings.keepDeliveredHours * HOUR_MS, log));
    const { wakeScorer, reports } = await startWork(settings, inbox, events, telemetry.traces, closers);
    inputs = await startInputs(settings, inbox, waking(events, wakeScorer), reports, closers);
    const { dicom, stow, folders } = inputs;
    readiness.running(async () => {
      await inbox.checkSpace();
      checkFolders(folders);
    });
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

function telemetryOf(settings: Settings, { folders, index }: Inbox, inputs: () => Inputs | undefined) {
  const keptFreeBytes = settings.keepFreeMib * MIB;
  const options = { folders, index, destinations: namesOf(settings), keptFreeBytes };
  return new GatewayTelemetry({
    index,
    openAssociations: () => inputs()?.dicom?.open ?? 0,
    unreadableFolders: () =>
      inputs()?.folders.filter(({ unreadable }) => unreadable !== undefined).length ?? 0,
    figures: () => readFigures(options),
  });
}

/** @throws Error where one cannot be read: nobody would notice that its files are not taken */
function checkFolders(folders: Inputs['folders']): void {
  for (const { path, unreadable } of folders) {
    if (unreadable !== undefined) throw new Error(`the watched folder ${path} waits: ${unreadable}`);
  }
}

/** Starts what takes instances from the inbox. @returns what to call when one was received, and what takes reports */
async function startWork(
  settings: Settings,
  inbox: Inbox,
  events: GatewayLog,
  traces: GatewayTraces,
  closers: Closers,
): Promise<{ readonly wakeScorer: () => void; readonly reports: ReportReceiver }> {
  const deliverer = await startDeliverer(settings.destinations, inbox, events, traces, closers);
  const scored = wakingScored(events, () => deliverer.wake());
  const scorer = await startScorer(settings, inbox, scored, traces, closers);
  return { wakeScorer: () => scorer?.wake(), reports: deliverer.commitments };
}

function namesOf({ destinations }: Settings): readonly string[] {
  return destinations.map(({ name }) => name);
}

async function destinationOf(settings: DestinationSettings): Promise<Destination> {
  const { name, url, dicom = '', timeoutMs, authorizationFile, caFile } = settings;
  const ca = caFile === undefined ? undefined : await readFile(caFile);
  if (url === undefined) {
    const { calledAeTitle = '', callingAeTitle, storageCommitment } = settings;
    const commitmentTimeoutMs = storageCommitment ? settings.commitmentTimeoutMs : undefined;
    const titles = { calledAeTitle, callingAeTitle };
    return { name, ...endpointOf({ listen: dicom }), ...titles, ca, timeoutMs, commitmentTimeoutMs };
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
  traces: GatewayTraces,
  closers: Closers,
): Promise<Deliverer> {
  const destinations = await Promise.all(settings.map(destinationOf));
  const deliverer = new Deliverer({ inbox, destinations, events, traced: traces.delivering });
  deliverer.start();
  closers.push(() => deliverer.stop());
  return deliverer;
}

async function startScorer(
  settings: Settings,
  inbox: Inbox,
  log: GatewayLog,
  traces: GatewayTraces,
  closers: Closers,
): Promise<Scorer | undefined> {
  const { server } = settings;
  if (server === undefined) return undefined;
  const { targets, model, tls, caFile, certFile, keyFile, tokenFile, apiKeyFile } = server;
  const given = { tls: tls || undefined, caFile, certFile, keyFile, tokenFile, apiKeyFile };
  const flags = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  const options = await Promise.all(
    targets.map(async (target) => ({
      target,
      options: { ...(await targetOptions({ ...flags, target }, {})), metadata: traceMetadata },
    })),
  );
  const [name = '', version] = model.split('@');
  const scorer = new Scorer({
    inbox,
    targets: new Targets(options),
    destinations: settings.destinations.map(wantedOf),
    traced: traces.scoring,
    model: { name, ...(version === undefined ? {} : { version: Number(version) }) },
    maxFalsePositiveRate: server.maxFalsePositiveRate,
    concurrency: server.concurrency,
    timeoutMs: { stat: server.statTimeoutMs, routine: server.routineTimeoutMs },
    events: log,
  });
  scorer.start();
  closers.push(() => scorer.stop());
  return scorer;
}
