/** Section "Models". */
import { SEARCH_LIMITS } from '../../scoring/search-plan.js';
import { optionalText, path, whole } from './field.js';
import type { SettingsOf } from './section.js';

export const MODEL_FIELDS = {
  models: path({
    env: 'SALAD_MODELS',
    default: 'models',
    description: 'Folder of model bundles, laid out as <name>/<version>/.',
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
