/**
 * The log of the gateway. Its functions take numbers and names of this program only, so that no text of a peer or a file
 * can get into it: UIDs, AE titles that are not in the settings, addresses of peers, file names and values of elements
 * stay out.
 */
import { destination, type Logger, pino } from 'pino';
import type { SaladError } from '../../../../src/errors/index.js';
import type { DelivererEvents } from '../delivery/deliverer.js';
import type { AssociationEvents } from '../dicom-port/store-association.js';
import type { DeliveryCount } from '../inbox/index-reader.js';
import type { Recovery } from '../inbox/recovery.js';
import type { GatewayEvents } from '../operations/events.js';
import type { ScorerEvents } from '../scoring/scorer.js';
import type { StowEvents } from '../stow/stow-port.js';
import type { WatchedFolderEvents } from '../watched-folder/watched-folder.js';
import type { Settings } from './settings.js';

export interface GatewayLog extends GatewayEvents {
  ready(ports: Readonly<Record<'dicom' | 'stow' | 'operations', number | undefined>>): void;
  recovered(recovery: Recovery): void;
  /** Results that wait for destinations that are not in the settings. */
  orphaned(deliveries: readonly DeliveryCount[]): void;
  /** Files of delivered instances. */
  removed(files: number): void;
  stopping(): void;
  stopped(): void;
}

export function createLog({ logLevel }: Pick<Settings, 'logLevel'>): GatewayLog {
  const log = pino({ name: 'salad-modality', level: logLevel }, destination({ fd: 2, sync: false }));
  return {
    ...portLog(log),
    ...otherInputLog(log),
    ...scorerLog(log),
    ...delivererLog(log),
    ready: (ports) => log.info(ports, 'the gateway accepts instances'),
    recovered: (recovery) => log.info({ ...recovery }, 'the inbox is open'),
    orphaned: (deliveries) => {
      for (const { destination: name, count } of deliveries) {
        log.warn(
          { destination: name, count },
          'results wait for a destination that is not in the settings: add it, or drop --destination',
        );
      }
    },
    removed: (files) => log.info({ files }, 'files of delivered instances removed'),
    stopping: () => log.info('stopping; a second signal exits at once'),
    stopped: () => log.info('stopped'),
  };
}

function portLog(log: Logger): AssociationEvents {
  return {
    refused: (rule) => log.warn({ rule }, 'association refused'),
    // Equal to a title of the settings, of a caller or an archive: it identifies a device of the site and no patient.
    accepted: ({ aeTitle }) => log.info({ caller: aeTitle }, 'association accepted'),
    aborted: (why) => log.warn({ why }, 'association aborted'),
    stored: ({ id, outcome, status }, milliseconds) =>
      log.info(
        { instance: id, outcome, status, milliseconds: Math.round(milliseconds) },
        'instance answered',
      ),
    failed: (error) => log.error(failureOf(error), 'instance refused'),
  };
}

function otherInputLog(log: Logger): StowEvents & WatchedFolderEvents {
  return {
    stowed: ({ kept, error }) =>
      kept === undefined
        ? log.error(error === undefined ? {} : failureOf(error), 'instance of a STOW-RS request refused')
        : log.info({ instance: kept.id, outcome: kept.outcome }, 'instance of a STOW-RS request kept'),
    requestRefused: (status) => log.warn({ status }, 'STOW-RS request refused'),
    taken: (instance, outcome) => log.info({ instance, outcome }, 'file of a watched folder kept'),
    fileRefused: (error) => log.error(failureOf(error), 'file of a watched folder moved to refused/'),
    postponed: (error) => log.warn(failureOf(error), 'file of a watched folder waits'),
    // The path is of the settings.
    folderUnreadable: (folder, reason) =>
      log.error({ folder, reason }, 'watched folder cannot be read: files in it wait'),
    folderReadable: (folder) => log.info({ folder }, 'watched folder can be read again'),
  };
}

function scorerLog(log: Logger): ScorerEvents {
  return {
    scored: (instance, frames, milliseconds) =>
      log.info({ instance, frames, milliseconds: Math.round(milliseconds) }, 'instance scored'),
    attemptFailed: (instance, { scope, reason }) => log.warn({ instance, scope, reason }, 'scoring failed'),
    indexFailed: (error) => log.error(failureOf(error), 'the index cannot be written'),
  };
}

function delivererLog(log: Logger): Omit<DelivererEvents, 'indexFailed'> {
  return {
    delivered: (instance, destination) => log.info({ instance, destination }, 'result delivered'),
    deliveryFailed: (instance, destination, { result, reason }) =>
      log.warn({ instance, destination, result, reason }, 'delivery failed'),
  };
}

/** Messages of SaladErrors of this program hold no text of a peer; the message of any other error might. */
function failureOf({ reason, message, cause }: SaladError): object {
  const { code } = (cause ?? {}) as { readonly code?: unknown };
  return {
    reason,
    ...(reason === 'INTERNAL' ? {} : { message }),
    ...(typeof code === 'string' ? { code } : {}),
  };
}
