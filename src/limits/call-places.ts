/** How many calls may be open at once, of all peers and of each. */
import { Shares } from '../acquisition/index.js';
import { SaladError } from '../errors/index.js';

export interface CallPlacesOptions {
  /** Scoring calls. */
  readonly scoring: number;
  /** All others: health, the registry, reflection. */
  readonly others: number;
  /** See `Shares`. */
  readonly peerShareRatio: number;
}

/** One open call's. */
export interface Place {
  /** The call turned out to be another peer's. @throws SaladError QUOTA_EXCEEDED */
  moveTo(peer: string): void;
  /** Idempotent. */
  release(): void;
}

const SCORING = '/salad.v1.AnomalyScoring/';

export class CallPlaces {
  private readonly scoring: Shares;
  private readonly others: Shares;

  constructor({ scoring, others, peerShareRatio }: CallPlacesOptions) {
    this.scoring = new Shares(scoring, peerShareRatio);
    this.others = new Shares(others, peerShareRatio);
  }

  /** @throws SaladError OVERLOADED, QUOTA_EXCEEDED */
  take(path: string, peer: string): Place {
    const shares = path.startsWith(SCORING) ? this.scoring : this.others;
    if (!shares.hasRoom(1)) throw new SaladError('OVERLOADED', `${shares.total} calls are open already`);
    if (!shares.take(peer, 1)) throw overShare(shares, peer);
    let holder: string | undefined = peer;
    return {
      moveTo(other) {
        if (holder === undefined || other === holder) return;
        shares.give(holder, 1);
        holder = shares.take(other, 1) ? other : undefined;
        if (holder === undefined) throw overShare(shares, other);
      },
      release() {
        if (holder !== undefined) shares.give(holder, 1);
        holder = undefined;
      },
    };
  }
}

function overShare(shares: Shares, peer: string): SaladError {
  return new SaladError('QUOTA_EXCEEDED', `${peer} has ${shares.held(peer)} calls open, its share`);
}
