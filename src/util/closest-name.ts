/**
 * Finds the name that a misspelt name probably stands for.
 * @returns undefined if every candidate differs in more than max(2, a third of its letters)
 */
export function closestName(name: string, candidates: readonly string[]): string | undefined {
  const maxEdits = Math.max(2, Math.ceil(name.length / 3));
  const ranked = candidates
    .map((candidate) => ({ candidate, edits: editDistance(name.toLowerCase(), candidate.toLowerCase()) }))
    .sort((a, b) => a.edits - b.edits);
  const [best] = ranked;
  return best !== undefined && best.edits <= maxEdits ? best.candidate : undefined;
}

/** Levenshtein distance: the number of insertions, deletions and replacements that turn one text into the other. */
function editDistance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (const [i, letter] of [...from].entries()) {
    const next = [i + 1];
    for (let j = 1; j <= to.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (letter === to[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[to.length] ?? 0;
}

/**
 * A question for the message about an unknown model: the model that was probably meant.
 * @param requested NAME or NAME@VERSION
 * @param available `name@version` of every model
 * @returns such as `; did you mean phantom@1?`; empty where no name is near
 */
export function modelHint(requested: string, available: readonly string[]): string {
  const isNameAlone = !requested.includes('@');
  const candidates = isNameAlone ? available.map((model) => model.split('@')[0] ?? '') : available;
  const closest = closestName(requested, [...new Set(candidates)]);
  return closest === undefined ? '' : `; did you mean ${closest}?`;
}
