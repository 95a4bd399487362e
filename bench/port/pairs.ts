/** Compares two servers by pairs of short runs: the speed of a shared machine changes from second to second. */
const PAIRS = 40;
export const RUN_MS = 500;

/** Each is first in every second pair: a machine that becomes slower or faster favours neither. */
export async function inPairs<Run>(
  quick: boolean,
  one: () => Promise<Run>,
  other: () => Promise<Run>,
): Promise<readonly { readonly one: Run; readonly other: Run }[]> {
  const pairs: { one: Run; other: Run }[] = [];
  for (let pair = 0; pair < (quick ? 2 : PAIRS); pair++) {
    if (pair % 2 === 0) pairs.push({ one: await one(), other: await other() });
    else {
      const second = await other();
      pairs.push({ one: await one(), other: second });
    }
  }
  return pairs;
}
