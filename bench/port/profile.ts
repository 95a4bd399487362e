/** A CPU profile of V8 as text: a call tree with the share of the busy time that each function takes. */
interface ProfileNode {
  readonly id: number;
  readonly callFrame: { readonly functionName: string; readonly url: string };
  readonly children?: readonly number[];
}

export interface Profile {
  readonly nodes: readonly ProfileNode[];
  /** Ids of the running function at each sample, and the time in µs since the sample before. */
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

/** A function called from one place in the tree. */
interface Call {
  readonly name: string;
  /** In µs, with all that it calls. */
  readonly total: number;
  readonly calls: readonly Call[];
}

const NOT_BUSY = ['(idle)', '(program)', '(root)'];
/** Calls with less of the busy time are left out. */
const SHARE_MIN = 0.02;
const DEPTH_MAX = 40;

/** @returns one line for each call, indented by its depth: share of the busy time, function, file */
export function callTree(profile: Profile): readonly string[] {
  const own = new Map<number, number>();
  profile.samples.forEach((id, index) => {
    own.set(id, (own.get(id) ?? 0) + (profile.timeDeltas[index] ?? 0));
  });
  const byId = new Map(profile.nodes.map((node) => [node.id, node]));
  const calls = (byId.get(profile.nodes[0]?.id ?? 0)?.children ?? [])
    .flatMap((id) => byId.get(id) ?? [])
    .filter(({ callFrame }) => !NOT_BUSY.includes(callFrame.functionName))
    .map((node) => callOf(node, byId, own));
  const busy = calls.reduce((sum, { total }) => sum + total, 0);
  return merged(calls).flatMap((call) => linesOf(call, busy, 0));
}

function callOf(
  node: ProfileNode,
  byId: ReadonlyMap<number, ProfileNode>,
  own: ReadonlyMap<number, number>,
): Call {
  const children = (node.children ?? []).flatMap((id) => byId.get(id) ?? []);
  const calls = children.map((child) => callOf(child, byId, own));
  const total = calls.reduce((sum, call) => sum + call.total, own.get(node.id) ?? 0);
  const { functionName, url } = node.callFrame;
  const file = url.split('/').slice(-2).join('/');
  return { name: `${functionName || '(anonymous)'} ${file}`.trim(), total, calls };
}

/** One call for those of the same function, the longest first. */
function merged(calls: readonly Call[]): readonly Call[] {
  const byName = new Map<string, Call>();
  for (const { name, total, calls: inner } of calls) {
    const same = byName.get(name);
    byName.set(name, {
      name,
      total: total + (same?.total ?? 0),
      calls: [...(same?.calls ?? []), ...inner],
    });
  }
  return [...byName.values()].sort((a, b) => b.total - a.total);
}

function linesOf({ name, total, calls }: Call, busy: number, depth: number): readonly string[] {
  if (total < SHARE_MIN * busy || depth > DEPTH_MAX) return [];
  const line = `${' '.repeat(depth)}${((100 * total) / busy).toFixed(1)} % ${name}`;
  return [line, ...merged(calls).flatMap((call) => linesOf(call, busy, depth + 1))];
}
