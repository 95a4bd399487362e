/** The programs of the suite `modality` as processes: the gateway, DCMTK's storescu and storescp, and Orthanc. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { stringify } from 'yaml';
import { packageRoot } from '../../src/util/package-root.js';
import { freePort } from '../support/free-port.js';

const PLUGIN = '/usr/share/orthanc/plugins/libOrthancDicomWeb.so';
const START_MS = 60_000;
export const CALLER = 'DX1';

/** Installs DCMTK and Orthanc where they are missing. */
export function ensurePrograms(): void {
  const script = join(packageRoot(), 'scripts/dicom-tools.mjs');
  execFileSync(process.execPath, [script], { stdio: ['ignore', 2, 2] });
}

/** Waits until `attempt` succeeds; fails if the process ends before. */
async function untilReady(child: ChildProcess, name: string, attempt: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + START_MS;
  while (!(await attempt().catch(() => false))) {
    if (child.exitCode !== null || performance.now() > deadline) throw new Error(`${name} does not start`);
    await sleep(50);
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), 60_000);
  await exited;
  clearTimeout(timer);
}

export interface GatewayProcess {
  readonly pid: number;
  readonly port: number;
  /** Instances scored since its start, from its log. */
  scored(): number;
  /** Instances since its start of which a destination has everything, from its log. */
  delivered(): number;
  stop(): Promise<void>;
}

/** Starts `salad-modality serve` with its inbox in `folder`. */
export async function startGateway(folder: string, settings: object): Promise<GatewayProcess> {
  mkdirSync(folder, { recursive: true });
  const file = join(folder, 'gateway.yaml');
  const dicom = { listen: '127.0.0.1:0', callers: [{ aeTitle: CALLER }] };
  writeFileSync(file, stringify({ inbox: 'inbox', keepFreeMib: 1, dicom, ...settings }));
  const main = join(packageRoot(), 'dist/clients/modality/src/main.js');
  const child = spawn(process.execPath, [main, 'serve', '--config', file, '--json'], {
    stdio: ['ignore', 'pipe', 'pipe'],
    // As the unit of systemd and the image set it.
    env: { ...process.env, MALLOC_ARENA_MAX: '2' },
  });
  let [scored, delivered, lastLines] = [0, 0, ''];
  createInterface({ input: child.stderr }).on('line', (line) => {
    if (line.includes('"instance scored"')) scored += 1;
    if (line.includes('"result delivered"')) delivered += 1;
    lastLines = `${lastLines}${line}\n`.slice(-4000);
  });
  const failed = once(child, 'exit').then(() => {
    throw new Error(`salad-modality ended:\n${lastLines}`);
  });
  const lines = createInterface({ input: child.stdout });
  const [first] = (await Promise.race([once(lines, 'line'), failed])) as [string];
  failed.catch(() => {});
  const { dicom: address } = JSON.parse(first) as { readonly dicom: string };
  return {
    pid: child.pid!,
    port: Number(address.slice(address.lastIndexOf(':') + 1)),
    scored: () => scored,
    delivered: () => delivered,
    stop: () => end(child),
  };
}

/** Sends a file `count` times on one association, each time as a new instance. @returns seconds */
export async function storescu(port: number, file: string, count: number, syntax: string): Promise<number> {
  const began = performance.now();
  const called = ['-aet', CALLER, '-aec', 'SALAD', syntax, '+II', '--repeat', String(count)];
  const child = spawn('storescu', [...called, '127.0.0.1', String(port), file], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const [code] = (await once(child, 'exit')) as [number | null];
  if (code !== 0) throw new Error(`storescu ended with exit code ${code}`);
  return (performance.now() - began) / 1000;
}

export interface Receiver {
  readonly port: number;
  stop(): Promise<void>;
}

/** DCMTK's storescp, which takes every transfer syntax, writes to `folder` and syncs nothing. */
export async function startStorescp(folder: string): Promise<Receiver> {
  mkdirSync(folder, { recursive: true });
  const port = await freePort();
  const child = spawn('storescp', ['+xa', '-aet', 'SALAD', '--output-directory', folder, String(port)], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  await untilReady(child, 'storescp', async () => {
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    socket.destroy();
    return true;
  });
  return { port, stop: () => end(child) };
}

export interface Archive {
  readonly dicomWeb: string;
  instances(): Promise<number>;
  stop(): Promise<void>;
}

/** Orthanc with its DICOMweb plugin. */
export async function startOrthanc(folder: string): Promise<Archive> {
  mkdirSync(folder, { recursive: true });
  const port = await freePort();
  const settings = {
    ...{
      Name: 'archive',
      StorageDirectory: join(folder, 'storage'),
      IndexDirectory: join(folder, 'storage'),
    },
    ...{
      HttpPort: port,
      DicomServerEnabled: false,
      RemoteAccessAllowed: false,
      AuthenticationEnabled: false,
    },
    ...{ Plugins: [PLUGIN], DicomWeb: { Enable: true, Root: '/dicom-web/' } },
  };
  const file = join(folder, 'orthanc.json');
  writeFileSync(file, JSON.stringify(settings));
  const child = spawn('Orthanc', [file], { stdio: 'ignore' });
  const url = `http://127.0.0.1:${port}`;
  await untilReady(child, 'Orthanc', async () => (await fetch(`${url}/system`)).ok);
  return {
    dicomWeb: `${url}/dicom-web`,
    async instances() {
      const response = await fetch(`${url}/statistics`);
      return ((await response.json()) as { readonly CountInstances: number }).CountInstances;
    },
    stop: () => end(child),
  };
}

/** Most resident memory that processes had, in MiB: those of the gateway, and of its largest child at any time. */
export class MemoryWatch {
  private readonly loadedMiB: number;
  private gatewayMiB = 0;
  private decoderMiB = 0;
  private readonly timer: NodeJS.Timeout;

  constructor(private readonly pid: number) {
    this.loadedMiB = peakMiB(pid);
    this.timer = setInterval(() => this.read(), 20);
  }

  /** @returns peaks of the gateway until the watch began, of the gateway and of a decoder process, in MiB */
  end(): { readonly gatewayLoaded: number; readonly gateway: number; readonly decoder: number } {
    this.read();
    clearInterval(this.timer);
    return { gatewayLoaded: this.loadedMiB, gateway: this.gatewayMiB, decoder: this.decoderMiB };
  }

  private read(): void {
    this.gatewayMiB = Math.max(this.gatewayMiB, peakMiB(this.pid));
    const children = readOr(`/proc/${this.pid}/task/${this.pid}/children`).trim();
    for (const child of children.split(' ').filter(Boolean)) {
      this.decoderMiB = Math.max(this.decoderMiB, peakMiB(Number(child)));
    }
  }
}

/** The peak that Linux keeps of a process; 0 if it has ended. */
function peakMiB(pid: number): number {
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(readOr(`/proc/${pid}/status`))?.[1] ?? 0) / 1024;
}

function readOr(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
