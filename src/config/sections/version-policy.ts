/** Which versions of a model are served: the meaning of the setting `modelVersions`. */

export type VersionRule =
  | { readonly kind: 'all' }
  /** The highest versions that are valid. */
  | { readonly kind: 'latest'; readonly count: number }
  | { readonly kind: 'listed'; readonly versions: ReadonlySet<number> };

/** @returns the rule for a model */
export type VersionPolicy = (name: string) => VersionRule;

const ALL: VersionRule = { kind: 'all' };

/**
 * @param text `all`, `latest:N` and `NAME@VERSION`, separated by commas; at most one rule without a name
 * @returns undefined for any other text
 */
export function parseVersionPolicy(text: string): VersionPolicy | undefined {
  const listed = new Map<string, Set<number>>();
  let others: VersionRule | undefined;
  for (const part of text.split(',').map((each) => each.trim())) {
    const [, latest] = /^latest:([1-9]\d{0,5})$/.exec(part) ?? [];
    const [, name, version] = /^([a-z0-9-]+)@([1-9]\d{0,9})$/.exec(part) ?? [];
    if (name !== undefined && version !== undefined) {
      const versions = listed.get(name) ?? new Set();
      listed.set(name, versions.add(Number(version)));
      continue;
    }
    if (others !== undefined || (latest === undefined && part !== 'all')) return undefined;
    others = latest === undefined ? ALL : { kind: 'latest', count: Number(latest) };
  }
  const rule = others ?? ALL;
  return (model) => {
    const versions = listed.get(model);
    return versions === undefined ? rule : { kind: 'listed', versions };
  };
}
