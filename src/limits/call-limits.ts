/** Limits the number of open calls: of all peers together and of each peer. */
import { Shares } from '../acquisition/index.js';
import { SaladError } from '../errors/index.js';
import { isScoringMethod } from '../wire/methods.js';

export interface CallLimitsOptions {
  /** Most open scoring calls. */
  readonly maxScoringCalls: number;
  /** Most open calls of all other methods: health, the registry, reflection. */
  readonly maxOtherCalls: number;
  /** See `Shares`. */
  readonly peerShareRatio: number;
}

/** Counts one open call until it is released. */
export interface CallPermit {
  /** Counts the call for another peer from now on. @throws SaladError QUOTA_EXCEEDED */
  moveTo(peer: string): void;
  /** Idempotent. */
  release(): void;
}

export class CallLimits {
  private readonly scoringCalls: Shares;
  private readonly otherCalls: Shares;

  constructor({ maxScoringCalls, maxOtherCalls, peerShareRatio }: CallLimitsOptions) {
    this.scoringCalls = new Shares(maxScoringCalls, peerShareRatio);
    this.otherCalls = new Shares(maxOtherCalls, peerShareRatio);
  }

  /**
   * @param path such as `/salad.v1.AnomalyScoring/ScoreImage`
   * @throws SaladError OVERLOADED, QUOTA_EXCEEDED
   */
  acquire(path: string, peer: string): CallPermit {
    const calls = isScoringMethod(path) ? this.scoringCalls : this.otherCalls;
    if (!calls.hasRoom(1)) {
      throw new SaladError(
        'OVERLOADED',
        `the server has ${calls.total} open calls, its limit; try again later`,
      );
    }
    if (!calls.acquire(peer, 1)) throw shareExceeded(calls, peer);
    let holder: string | undefined = peer;
    return {
      moveTo(newPeer) {
        if (holder === undefined || newPeer === holder) return;
        calls.release(holder, 1);
        holder = calls.acquire(newPeer, 1) ? newPeer : undefined;
        if (holder === undefined) throw shareExceeded(calls, newPeer);
      },
      release() {
        if (holder !== undefined) calls.release(holder, 1);
        holder = undefined;
      },
    };
  }
}

function shareExceeded(calls: Shares, peer: string): SaladError {
  const message = `${peer} has ${calls.held(peer)} open calls, the limit of its share`;
  return new SaladError('QUOTA_EXCEEDED', message);
}
