/** Seeded random choices for training: the same seed and data give the same bundle on every machine. */
import { createHash } from 'node:crypto';

/** A number in [0, 1) that depends only on the text and the seed. */
export function hashFraction(text: string, seed: number): number {
  const digest = createHash('sha256').update(`${seed}:${text}`).digest();
  return digest.readUInt32BE(0) / 4294967296;
}

/** `count` distinct indices below `total`, in ascending order (all of them where count >= total). */
export function chooseIndices(total: number, count: number, random: () => number): Int32Array {
  const all = Int32Array.from({ length: total }, (_, index) => index);
  if (count >= total) return all;
  for (let i = 0; i < count; i += 1) {
    const j = i + Math.floor(random() * (total - i));
    const swapped = all[i]!;
    all[i] = all[j]!;
    all[j] = swapped;
  }
  return all.slice(0, count).sort();
}

/** `count` distinct indices, ascending, in numbers as equal as the sizes of the groups allow. @param groups of every index */
export function chooseBalanced(groups: readonly string[], count: number, random: () => number): number[] {
  const members = new Map<string, number[]>();
  groups.forEach((group, index) => {
    const others = members.get(group);
    if (others) others.push(index);
    else members.set(group, [index]);
  });
  const smallestFirst = [...members.values()].sort((a, b) => a.length - b.length);
  let left = count;
  const chosen = smallestFirst.flatMap((indices, at) => {
    const share = Math.min(indices.length, Math.floor(left / (smallestFirst.length - at)));
    left -= share;
    return Array.from(chooseIndices(indices.length, share, random), (i) => indices[i]!);
  });
  return chosen.sort((a, b) => a - b);
}
