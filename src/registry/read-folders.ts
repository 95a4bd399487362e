/** Reads the bundles that a server starts with. */
import type { Bundle } from '../bundle/bundle.js';
import { type Candidate, listModelFolders, type ModelFolder } from '../bundle/model-folders.js';
import { openCandidate, type RefusedBundle } from '../bundle/repository.js';
import type { VersionPolicy } from '../config/sections/version-policy.js';
import { SaladError } from '../errors/index.js';
import type { Logger } from '../telemetry/logger.js';

export interface FoldersRead {
  /** By name, then version. */
  readonly bundles: readonly Bundle[];
  readonly refused: readonly { readonly candidate: Candidate; readonly reason: string }[];
}

/**
 * Reads the bundles that the policy selects. A refused bundle does not stop the start of the others.
 * @throws SaladError the error of the first refused bundle, or CONFIGURATION_INVALID, if no bundle is valid
 */
export async function readFolders(
  directories: readonly string[],
  policy: VersionPolicy,
  logger: Logger,
): Promise<FoldersRead> {
  const folders = await listModelFolders(directories);
  const bundles: Bundle[] = [];
  const refused: { candidate: Candidate; reason: string }[] = [];
  let firstError: SaladError | undefined;
  const refuse = ({ directory, model, error }: RefusedBundle) => {
    const isNamed = error.message.includes(directory);
    firstError ??= isNamed
      ? error
      : new SaladError(error.reason, `${directory}: ${error.message}`, { cause: error });
    logger.error({ err: error, directory, model }, 'a model bundle was refused');
  };
  for (const folder of folders) {
    if (folder.kind === 'refused') refuse(folder);
    if (folder.kind !== 'ignored') continue;
    const { directory, reason } = folder;
    logger.info({ directory, reason }, 'a folder is not a model bundle and was ignored');
  }
  for (const versions of candidatesByName(folders).values()) {
    const rule = policy(versions[0]!.name);
    let left = rule.kind === 'latest' ? rule.count : Number.POSITIVE_INFINITY;
    const inOrder = rule.kind === 'latest' ? versions : [...versions].reverse();
    for (const candidate of inOrder) {
      if (left === 0) break;
      if (rule.kind === 'listed' && !rule.versions.has(candidate.version)) continue;
      const finding = await openCandidate(candidate);
      if (finding.kind === 'bundle') {
        bundles.push(finding.bundle);
        left -= 1;
      } else {
        refuse(finding);
        refused.push({ candidate, reason: finding.error.message });
      }
    }
  }
  if (bundles.length === 0) throw firstError ?? noBundle(directories, folders);
  return { bundles: bundles.sort(byNameAndVersion), refused };
}

/** The candidates of every model, the highest version first. */
export function candidatesByName(folders: readonly ModelFolder[]): ReadonlyMap<string, readonly Candidate[]> {
  const byName = new Map<string, Candidate[]>();
  for (const folder of folders) {
    if (folder.kind !== 'candidate') continue;
    byName.set(folder.name, [...(byName.get(folder.name) ?? []), folder]);
  }
  for (const versions of byName.values()) versions.sort((a, b) => b.version - a.version);
  return byName;
}

function noBundle(directories: readonly string[], folders: readonly ModelFolder[]): SaladError {
  const ignored = folders.flatMap((folder) =>
    folder.kind === 'ignored' ? [`${folder.directory}: ${folder.reason}`] : [],
  );
  const details = ignored.length === 0 ? '' : ` (${ignored.join('; ')})`;
  return new SaladError(
    'CONFIGURATION_INVALID',
    `models: no NAME/VERSION/ under ${directories.join(', ')}${details}`,
  );
}

function byNameAndVersion({ manifest: a }: Bundle, { manifest: b }: Bundle): number {
  return a.name < b.name ? -1 : a.name > b.name ? 1 : a.version - b.version;
}
