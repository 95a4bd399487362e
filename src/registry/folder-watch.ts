/**
 * Polls the models folders, and serves what they hold. It compares paths, sizes and times instead of
 * waiting for events of the file system, which network volumes do not send.
 */
import { type Candidate, listModelFolders, modelKey } from '../bundle/model-folders.js';
import { signatureOf } from '../bundle/signature.js';
import type { VersionPolicy } from '../config/sections/version-policy.js';
import { SaladError } from '../errors/index.js';
import type { Logger } from '../telemetry/logger.js';
import { contentFault, type ModelLoader } from './model-loader.js';
import { candidatesByName } from './read-folders.js';
import type { VersionTable } from './version-table.js';

export interface FolderWatchParts {
  readonly directories: readonly string[];
  readonly policy: VersionPolicy;
  readonly intervalMs: number;
  readonly table: VersionTable;
  readonly loader: Pick<ModelLoader, 'load' | 'unload'>;
  readonly logger: Logger;
}

/**
 * What was last seen of a version. `tried`: it was refused once, perhaps because it was still being copied; it is tried
 * again at the next poll. `refused`, `ignored`: it is left alone until its files change.
 */
interface Seen {
  /** Undefined until the next poll. */
  readonly signature: string | undefined;
  readonly verdict: 'serving' | 'tried' | 'refused' | 'ignored';
}

/** A version that is missing in so many polls is unloaded: a folder may be missing while another replaces it. */
const MISSING_POLLS = 2;

export class FolderWatch {
  private readonly seen = new Map<string, Seen>();
  private readonly missing = new Map<string, number>();
  /** Loaded by a call: served whatever the policy says. */
  private readonly requested = new Set<string>();
  private timer: NodeJS.Timeout | undefined;
  private polling: Promise<void> = Promise.resolve();
  private isClosed = false;
  private lastFailure = '';

  constructor(private readonly parts: FolderWatchParts) {}

  start(): void {
    if (this.isClosed) return;
    this.timer = setTimeout(() => {
      this.polling = this.poll().finally(() => this.start());
    }, this.parts.intervalMs).unref();
  }

  async close(): Promise<void> {
    this.isClosed = true;
    clearTimeout(this.timer);
    await this.polling;
  }

  /** A call has loaded this version. */
  request(key: string): void {
    this.requested.add(key);
    this.seen.delete(key);
  }

  /** A call has unloaded this version: it is left alone until its files change. */
  ignoreUntilChanged(key: string): void {
    this.requested.delete(key);
    this.seen.set(key, { signature: undefined, verdict: 'ignored' });
  }

  /** Reads the folders once. Never rejects. */
  async poll(): Promise<void> {
    const { directories, logger } = this.parts;
    try {
      const byName = candidatesByName(await listModelFolders(directories));
      // An empty folder is more likely a volume that is not mounted than a request to serve nothing.
      if (byName.size === 0) throw new SaladError('CONFIGURATION_INVALID', 'the folders hold no model');
      for (const candidates of byName.values()) await this.follow(candidates);
      this.forgetMissing(new Set([...byName.values()].flat().map(modelKey)));
      this.lastFailure = '';
    } catch (error) {
      const { message } = SaladError.from(error);
      if (message !== this.lastFailure) {
        logger.warn({ err: error, directories }, 'the models folders were not read; nothing changes');
      }
      this.lastFailure = message;
    } finally {
      logger.trace({ directories }, 'polled the models folders');
    }
  }

  /** Serves the versions of one model that the policy selects. @param candidates the highest version first */
  private async follow(candidates: readonly Candidate[]): Promise<void> {
    const rule = this.parts.policy(candidates[0]!.name);
    let left = rule.kind === 'latest' ? rule.count : Number.POSITIVE_INFINITY;
    const surplus: string[] = [];
    let served = 0;
    for (const candidate of candidates) {
      if (this.isClosed) return;
      const key = modelKey(candidate);
      this.missing.delete(key);
      const isSelected = left > 0 && (rule.kind !== 'listed' || rule.versions.has(candidate.version));
      if (!isSelected) {
        if (!this.requested.has(key)) surplus.push(key);
      } else if (await this.serve(candidate)) {
        left -= 1;
        served += 1;
      }
    }
    // Only once those that replace them serve.
    if (served > 0) for (const key of surplus) this.parts.loader.unload(key);
  }

  /** @returns whether the version serves now */
  private async serve(candidate: Candidate): Promise<boolean> {
    const { table, loader, logger } = this.parts;
    const key = modelKey(candidate);
    const signature = await signatureOf(candidate.directory);
    const seen = this.seen.get(key);
    const isUnchanged = seen?.signature === signature;
    if (table.stateOf(key) === 'serving') {
      if (!isUnchanged) await this.checkContent(candidate, signature);
      return true;
    }
    if (seen?.verdict === 'ignored' && seen.signature === undefined) {
      this.seen.set(key, { signature, verdict: 'ignored' });
      return false;
    }
    if (isUnchanged && (seen.verdict === 'refused' || seen.verdict === 'ignored')) return false;
    try {
      await loader.load(candidate);
      this.seen.set(key, { signature, verdict: 'serving' });
      return true;
    } catch (error) {
      if (this.isClosed) return false;
      const known = SaladError.from(error);
      // What is not the bundle's fault may pass.
      const isFinal = isUnchanged && known.reason === 'BUNDLE_INVALID';
      this.seen.set(key, { signature, verdict: isFinal ? 'refused' : 'tried' });
      const { directory } = candidate;
      const details = { err: known, directory, model: key };
      if (isFinal) logger.error(details, 'a model bundle was refused');
      else logger.info(details, 'a model bundle was not loaded; it is tried again');
      return false;
    }
  }

  /** Called when the files of a serving version have changed. The version serves what was loaded, and gets a reason. */
  private async checkContent(candidate: Candidate, signature: string): Promise<void> {
    const { table, logger } = this.parts;
    const key = modelKey(candidate);
    const loaded = table.loaded(key);
    if (loaded === undefined) return;
    const reason = await contentFault(candidate, loaded).catch(() => undefined);
    // A manifest that cannot be read may be in the middle of a copy; it is read again at the next poll.
    if (reason === undefined) return;
    if (reason !== '') logger.warn({ model: key }, reason);
    table.setReason(key, reason);
    this.seen.set(key, { signature, verdict: 'serving' });
  }

  /** Unloads versions whose folders are gone, but never the last that serves. */
  private forgetMissing(present: ReadonlySet<string>): void {
    const { table, loader, logger } = this.parts;
    for (const { key, state } of table.versions) {
      if (present.has(key) || state === 'loading' || state === 'unloading') continue;
      const polls = (this.missing.get(key) ?? 0) + 1;
      this.missing.set(key, polls);
      if (polls < MISSING_POLLS) continue;
      this.seen.delete(key);
      this.requested.delete(key);
      if (state === 'refused') {
        this.missing.delete(key);
        table.delete(key);
      } else if (table.serving.length > 1) {
        this.missing.delete(key);
        loader.unload(key);
      } else if (polls === MISSING_POLLS) {
        logger.warn({ model: key }, 'the folder of the last model is gone; the model still serves');
      }
    }
  }
}
