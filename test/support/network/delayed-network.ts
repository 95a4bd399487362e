/**
 * Two network namespaces, connected by a link with a delay and a rate: `tc netem` on a veth pair, or two TUN devices
 * and a relay where the kernel lacks netem. Needs Linux and root.
 */
import {
  type ChildProcess,
  type ChildProcessWithoutNullStreams,
  execFileSync,
  spawn,
} from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

export interface DelayedNetwork {
  readonly kind: 'netem' | 'tun relay';
  /** Addresses of the two ends. */
  readonly addresses: readonly [string, string];
  /** Runs a command at one end. */
  spawn(end: 0 | 1, command: string, args: readonly string[]): ChildProcessWithoutNullStreams;
  /** Removes both namespaces and the link. */
  remove(): void;
}

export interface LinkOptions {
  readonly oneWayDelayMs: number;
  readonly rateMbit: number;
}

const ADDRESSES = ['10.231.77.1', '10.231.77.2'] as const;
/** In packets: more than bandwidth times delay, so that the link drops no packet of a long burst. */
const QUEUE_PACKETS = 20_000;

/** @returns why this machine cannot create such a network; undefined where it can */
export function networkObstacle(): string | undefined {
  if (process.platform !== 'linux') return 'network namespaces need Linux';
  if (process.getuid?.() !== 0) return 'network namespaces need root';
  try {
    run('ip', 'netns', 'list');
    run('tc', '-V');
    return undefined;
  } catch (error) {
    return `iproute2 is not usable: ${error instanceof Error ? error.message : String(error)}`;
  }
}

/** @throws Error with the capability that the machine lacks */
export async function createDelayedNetwork(options: LinkOptions): Promise<DelayedNetwork> {
  const names = [`salad-a${process.pid}`, `salad-b${process.pid}`] as const;
  const devices = [`sla${process.pid}`, `slb${process.pid}`] as const;
  let relay: ChildProcess | undefined;
  const remove = () => {
    relay?.kill('SIGKILL');
    for (const name of names) quietly(() => run('ip', 'netns', 'del', name));
    for (const device of devices) quietly(() => run('ip', 'link', 'del', device));
  };
  try {
    for (const name of names) run('ip', 'netns', 'add', name);
    const kind = hasNetem(names[0]) ? 'netem' : 'tun relay';
    if (kind === 'netem') run('ip', 'link', 'add', devices[0], 'type', 'veth', 'peer', 'name', devices[1]);
    else relay = await startRelay(devices, options);
    names.forEach((name, end) => {
      const device = devices[end] as string;
      run('ip', 'link', 'set', device, 'netns', name);
      const inside = (...args: readonly string[]) => run('ip', 'netns', 'exec', name, ...args);
      inside('ip', 'link', 'set', 'lo', 'up');
      inside('ip', 'addr', 'add', `${ADDRESSES[end]}/30`, 'dev', device);
      inside('ip', 'link', 'set', device, 'mtu', '1500', 'txqueuelen', String(QUEUE_PACKETS), 'up');
      if (kind === 'netem') inside('tc', ...netem(device, options));
    });
    return {
      kind,
      addresses: ADDRESSES,
      spawn: (end, command, args) => spawn('ip', ['netns', 'exec', names[end], command, ...args]),
      remove,
    };
  } catch (error) {
    remove();
    throw error;
  }
}

function netem(device: string, { oneWayDelayMs, rateMbit }: LinkOptions): string[] {
  const shape = ['delay', `${oneWayDelayMs}ms`, 'rate', `${rateMbit}mbit`, 'limit', String(QUEUE_PACKETS)];
  return ['qdisc', 'add', 'dev', device, 'root', 'netem', ...shape];
}

function hasNetem(namespace: string): boolean {
  try {
    run('ip', 'netns', 'exec', namespace, 'tc', 'qdisc', 'add', 'dev', 'lo', 'root', 'netem', 'delay', '1ms');
    run('ip', 'netns', 'exec', namespace, 'tc', 'qdisc', 'del', 'dev', 'lo', 'root');
    return true;
  } catch {
    return false;
  }
}

async function startRelay(devices: readonly string[], options: LinkOptions): Promise<ChildProcess> {
  const script = join(import.meta.dirname, 'delay_link.py');
  const args = [script, ...devices, String(options.oneWayDelayMs), String(options.rateMbit)];
  const relay = spawn('python3', args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const ready = once(relay.stdout, 'data');
  const ended = once(relay, 'exit').then(() => {
    throw new Error('the kernel has no netem, and the relay over /dev/net/tun does not start either');
  });
  await Promise.race([ready, ended]);
  ended.catch(() => {});
  return relay;
}

function run(command: string, ...args: readonly string[]): string {
  return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

function quietly(work: () => void): void {
  try {
    work();
  } catch {
    // Removed before.
  }
}
