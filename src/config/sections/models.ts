/** Section "Models". */
import { z } from 'zod';
import { SEARCH_LIMITS } from '../../scoring/search-plan.js';
import { optionalText, paths, whole } from './field.js';
import type { SettingsOf } from './section.js';
import { parseVersionPolicy } from './version-policy.js';

export const MODEL_FIELDS = {
  models: paths({
    env: 'SALAD_MODELS',
    default: ['models'],
    description:
      'Folders of model bundles, laid out as <name>/<version>/, or folders that are one bundle themselves. Of two bundles of the same name and version the first is served.',
  }),
  modelVersions: {
    env: 'SALAD_MODEL_VERSIONS',
    default: 'all',
    unit: 'none',
    allowed: 'all, latest:N or NAME@VERSION, separated by commas',
    description:
      'The versions of each model that are served: all, the N highest that are valid, or only those listed. A rule without a name applies to the models of which no version is listed, such as latest:1,chest-adult@1.',
    schema: z.string().refine((text) => parseVersionPolicy(text) !== undefined),
  },
  modelsPollMs: whole({
    env: 'SALAD_MODELS_POLL_MS',
    default: 0,
    unit: 'ms',
    min: 0,
    max: 86_400_000,
    description:
      'Time between two polls of the folders of models: versions that were added are served, and those removed are unloaded, without a restart. 0: the folders are read at the start and for ModelRegistry.Load only.',
  }),
  exactSearchRowsMax: whole({
    env: 'SALAD_EXACT_SEARCH_ROWS_MAX',
    default: SEARCH_LIMITS.exactRowsMax,
    unit: 'prototypes',
    min: 1,
    max: 2 ** 31 - 1,
    description:
      'A patch that is compared with at most this many prototypes is searched exactly; above, an index with a recall of at least 0.99 is used.',
  }),
  searchIndexFolder: optionalText({
    allowed: 'a path or empty',
    env: 'SALAD_SEARCH_INDEX_FOLDER',
    default: '',
    description:
      'Folder for the indexes of large memory banks; empty means .cache/salad-serve/search in the home folder.',
  }),
} as const;

export type ModelConfig = SettingsOf<typeof MODEL_FIELDS>;
