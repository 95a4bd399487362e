/** What happens in the gateway, for its log and its telemetry. */
import type { DelivererEvents } from '../delivery/deliverer.js';
import type { AssociationEvents } from '../dicom-port/store-association.js';
import type { ScorerEvents } from '../scoring/scorer.js';
import type { StowEvents } from '../stow/stow-port.js';
import type { WatchedFolderEvents } from '../watched-folder/watched-folder.js';

export type GatewayEvents = AssociationEvents &
  StowEvents &
  WatchedFolderEvents &
  ScorerEvents &
  DelivererEvents;

/** Calls `second` after each event of `first` that it knows, too. */
export function inTurn<T extends object>(first: T, second: Partial<T>): T {
  const others = second as Readonly<Record<string, ((...details: unknown[]) => void) | undefined>>;
  const events = Object.entries(first).map(([name, event]: [string, (...details: unknown[]) => void]) => [
    name,
    (...details: unknown[]) => {
      event(...details);
      others[name]?.(...details);
    },
  ]);
  return Object.fromEntries(events) as T;
}
