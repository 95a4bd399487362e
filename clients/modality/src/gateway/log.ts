/**
 * The log of the gateway. Its functions take numbers and names of this program only, so that no text of a peer or a file
 * can get into it: UIDs, AE titles and addresses of peers, file names and values of elements stay out.
 */
import { destination, type Logger, pino } from 'pino';
import type { SaladError } from '../../../../src/errors/index.js';
import type { AssociationEvents } from '../dicom-port/store-association.js';
import type { Recovery } from '../inbox/recovery.js';
import type { Settings } from './settings.js';

export interface GatewayLog extends AssociationEvents {
  ready(port: number): void;
  recovered(recovery: Recovery): void;
  stopping(): void;
  stopped(): void;
}

export function createLog({ logLevel }: Pick<Settings, 'logLevel'>): GatewayLog {
  const log = pino({ name: 'salad-modality', level: logLevel }, destination({ fd: 2, sync: false }));
  return { ...portLog(log), ...lifeLog(log) };
}

function portLog(log: Logger): AssociationEvents {
  return {
    refused: (rule) => log.warn({ rule }, 'association refused'),
    // From the settings, not from the peer.
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

function lifeLog(log: Logger): Omit<GatewayLog, keyof AssociationEvents> {
  return {
    ready: (port) => log.info({ port }, 'the DICOM port is open'),
    recovered: (recovery) => log.info({ ...recovery }, 'the inbox is open'),
    stopping: () => log.info('stopping; a second signal exits at once'),
    stopped: () => log.info('stopped'),
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
