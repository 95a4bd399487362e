/** The versions of all models and their states; counts the acquisitions of each. It loads nothing itself. */
import type { ServedModel } from '../acquisition/index.js';
import type { ModelIdentity } from '../bundle/files.js';
import { modelKey } from '../bundle/model-folders.js';
import { callerText, SaladError } from '../errors/index.js';

/**
 * `serving`: new acquisitions can select it. `unloading`: only the acquisitions that have begun use it; it is unloaded
 * after the last of them. `refused`: it could not be loaded; the reason says why. A version that was unloaded has no
 * state: it is not listed.
 */
export type VersionState = 'loading' | 'serving' | 'unloading' | 'refused';

export interface ModelVersion extends ModelIdentity {
  /** `name@version`. */
  readonly key: string;
  readonly state: VersionState;
  /** Whether acquisitions that name no version get it: the highest version that serves. */
  readonly isDefault: boolean;
  /** SHA-256 of the manifest; empty while it is not known. */
  readonly sha256: string;
  /** Acquisitions that use it now. */
  readonly acquisitions: number;
  /** Why it was refused, or what else is wrong, human-readable. Empty where nothing is. */
  readonly reason: string;
}

/** A model that stays loaded until `release`, whatever happens to its version meanwhile. */
export interface ModelLease {
  readonly model: ServedModel;
  /** Idempotent. */
  release(): void;
}

interface Entry extends ModelIdentity {
  state: VersionState;
  served: ServedModel | undefined;
  acquisitions: number;
  reason: string;
}

export class VersionTable {
  private readonly entries = new Map<string, Entry>();
  private readonly listeners = new Set<() => void>();
  private largestTileCount = 0;

  /** @param onIdle called when a version that is unloading has no acquisition left */
  constructor(private readonly onIdle: (key: string) => void) {}

  /** The models that new acquisitions can select, by name, then version. */
  get serving(): readonly ServedModel[] {
    return this.sorted()
      .filter(({ state }) => state === 'serving')
      .map(({ served }) => served!);
  }

  /** Tiles of the loaded model that has the most. Read for every message of tiles. */
  get tilesMax(): number {
    return this.largestTileCount;
  }

  /** All versions, by name, then version. */
  get versions(): readonly ModelVersion[] {
    return this.sorted().map((entry) => ({
      name: entry.name,
      version: entry.version,
      key: modelKey(entry),
      state: entry.state,
      isDefault: entry === this.defaultOf(entry.name),
      sha256: entry.served?.sha256 ?? '',
      acquisitions: entry.acquisitions,
      reason: entry.reason,
    }));
  }

  stateOf(key: string): VersionState | undefined {
    return this.entries.get(key)?.state;
  }

  /** The model while it is loaded: also while it is unloading. */
  loaded(key: string): ServedModel | undefined {
    return this.entries.get(key)?.served;
  }

  /** @param version default: the highest that serves @throws SaladError MODEL_NOT_FOUND */
  find(name: string, version?: number): ServedModel {
    return this.entryOf(name, version).served!;
  }

  /** As `find`; the model stays loaded until it is released. @throws SaladError MODEL_NOT_FOUND */
  acquire(name: string, version?: number): ModelLease {
    const entry = this.entryOf(name, version);
    entry.acquisitions += 1;
    let isReleased = false;
    return {
      model: entry.served!,
      release: () => {
        if (isReleased) return;
        isReleased = true;
        entry.acquisitions -= 1;
        this.reportIdle(entry);
      },
    };
  }

  /** Called after every change of a state or reason, but not of a number of acquisitions. @returns removes it */
  onChange(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  setLoading({ name, version }: ModelIdentity): void {
    this.set({ name, version, state: 'loading', served: undefined, acquisitions: 0, reason: '' });
  }

  /** From now on new acquisitions can select it; the highest version is the default. */
  setServing(served: ServedModel): void {
    const { name, version } = served;
    this.set({ name, version, state: 'serving', served, acquisitions: 0, reason: '' });
  }

  setRefused({ name, version }: ModelIdentity, reason: string): void {
    this.set({ name, version, state: 'refused', served: undefined, acquisitions: 0, reason });
  }

  /** No new acquisition selects it from now on. */
  setUnloading(key: string): void {
    const entry = this.entries.get(key);
    if (entry?.state !== 'serving') return;
    entry.state = 'unloading';
    this.notify();
    this.reportIdle(entry);
  }

  /** A version that is unloading serves again. */
  revive(key: string): void {
    const entry = this.entries.get(key);
    if (entry?.state !== 'unloading') return;
    entry.state = 'serving';
    this.notify();
  }

  /** Says what is wrong with a version that serves all the same. */
  setReason(key: string, reason: string): void {
    const entry = this.entries.get(key);
    if (entry === undefined || entry.reason === reason) return;
    entry.reason = reason;
    this.notify();
  }

  isIdle(key: string): boolean {
    return this.entries.get(key)?.acquisitions === 0;
  }

  delete(key: string): void {
    if (this.entries.delete(key)) this.notify();
  }

  private set(entry: Entry): void {
    this.entries.set(modelKey(entry), entry);
    this.notify();
  }

  private notify(): void {
    const loaded = [...this.entries.values()].flatMap(({ served }) => served ?? []);
    this.largestTileCount = Math.max(0, ...loaded.map(({ geometry }) => geometry.tileCount));
    for (const listener of this.listeners) listener();
  }

  private reportIdle(entry: Entry): void {
    if (entry.state === 'unloading' && entry.acquisitions === 0) this.onIdle(modelKey(entry));
  }

  private entryOf(name: string, version?: number): Entry {
    const exact =
      version === undefined ? this.defaultOf(name) : this.entries.get(modelKey({ name, version }));
    if (exact?.state === 'serving') return exact;
    const shownName = callerText(name);
    const requested = version === undefined ? shownName : `${shownName}@${version}`;
    const loaded = this.serving.map(({ key }) => key).join(', ');
    const what = exact?.state === 'unloading' ? 'is being unloaded' : 'is not loaded';
    throw new SaladError('MODEL_NOT_FOUND', `model ${requested} ${what}; loaded: ${loaded}`);
  }

  private defaultOf(name: string): Entry | undefined {
    let highest: Entry | undefined;
    for (const entry of this.entries.values()) {
      if (entry.name !== name || entry.state !== 'serving') continue;
      if (highest === undefined || entry.version > highest.version) highest = entry;
    }
    return highest;
  }

  private sorted(): readonly Entry[] {
    const byName = (a: Entry, b: Entry) =>
      a.name < b.name ? -1 : a.name > b.name ? 1 : a.version - b.version;
    return [...this.entries.values()].sort(byName);
  }
}
