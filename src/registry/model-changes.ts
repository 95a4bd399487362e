import type { ServedModel } from '../acquisition/index.js';

/** Calls that change the models: of one registry, or of those of several processes. They throw as `ModelRegistry`. */
export interface ModelChanges {
  load(name: string, version?: number): Promise<ServedModel>;
  unload(name: string, version?: number): readonly ServedModel[] | Promise<readonly ServedModel[]>;
}
