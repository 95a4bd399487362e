/** One server process, seen from the first process: its start, its connections, its requests, its end. */
import { type ChildProcess, fork } from 'node:child_process';
import type { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { SaladError } from '../../errors/index.js';
import { fromErrorData } from '../../errors/transfer.js';
import type { ServingState } from '../health.js';
import { Channel } from './channel.js';
import type { FromProcess, ModelChange, ProcessRequest, ProcessStart, ToProcess } from './messages.js';

export interface ProcessEvents {
  onState(process: ServerProcess): void;
  /** It requests a change of the models of all processes. @returns the answer */
  onChange(process: ServerProcess, change: ModelChange): Promise<unknown>;
  onCallsEnded(process: ServerProcess): void;
  /** @param how such as `exit code 1` or `SIGKILL` */
  onEnd(process: ServerProcess, how: string): void;
}

export interface ReadyProcess {
  readonly engine: string;
  readonly models: readonly string[];
}

export class ServerProcess {
  /** What it said last; undefined before it is ready. */
  state: ServingState | undefined;
  /** Connections that it holds, with those on their way to it. */
  connections = 0;
  hasEnded = false;
  private readonly child: ChildProcess;
  private readonly channel: Channel<FromProcess, ModelChange>;
  private readonly untaken = new Map<number, Socket>();
  private lastId = 0;
  private settleStart: { resolve(ready: ReadyProcess): void; reject(error: Error): void } | undefined;

  /** Resolves when it has loaded its models. Rejects with the error of its start, or where it ends before. */
  readonly ready: Promise<ReadyProcess>;

  constructor(
    readonly start: ProcessStart,
    private readonly events: ProcessEvents,
  ) {
    this.child = forkEntry();
    this.channel = new Channel<FromProcess, ModelChange>(this.child, {
      onMessage: (message) => this.receive(message),
      onRequest: (change) => this.events.onChange(this, change),
    });
    this.ready = new Promise((resolve, reject) => {
      this.settleStart = { resolve, reject };
    });
    this.child.once('error', (error) => this.end(error.message));
    this.child.once('exit', (code, signal) => this.end(signal ?? `exit code ${code}`));
    this.send(start);
  }

  get pid(): number | undefined {
    return this.child.pid;
  }

  send(message: ToProcess): void {
    this.channel.send(message);
  }

  /** @throws SaladError what the process throws; DRAINING where it ends */
  request<Value>(request: ProcessRequest): Promise<Value> {
    return this.channel.request<Value>(request);
  }

  /** Hands a connection over. It stays open here until the process has it, so that another can take it instead. */
  give(socket: Socket): void {
    this.lastId += 1;
    this.untaken.set(this.lastId, socket);
    this.connections += 1;
    this.channel.send({ type: 'connection', id: this.lastId } satisfies ToProcess, socket);
  }

  /** The connections that it has not taken; another process may. */
  takeBack(): readonly Socket[] {
    const sockets = [...this.untaken.values()];
    this.untaken.clear();
    return sockets;
  }

  kill(): void {
    this.child.kill('SIGKILL');
  }

  private receive(message: FromProcess): void {
    switch (message.type) {
      case 'ready':
        this.settleStart?.resolve(message);
        break;
      case 'failed':
        this.settleStart?.reject(fromErrorData(message.error));
        break;
      case 'taken':
        // The process has a descriptor of its own: this closes the one of this process only.
        this.untaken.get(message.id)?.destroy();
        this.untaken.delete(message.id);
        break;
      case 'closed':
        this.connections -= 1;
        break;
      case 'state':
        this.state = message.state;
        this.events.onState(this);
        break;
      case 'callsEnded':
        this.events.onCallsEnded(this);
        break;
    }
  }

  private end(how: string): void {
    if (this.hasEnded) return;
    this.hasEnded = true;
    const { index } = this.start;
    this.settleStart?.reject(
      new SaladError('ENGINE_FAILED', `server process ${index} ended before it was ready: ${how}`),
    );
    this.events.onEnd(this, how);
  }
}

function forkEntry(): ChildProcess {
  // In a checkout under test the entry runs from source.
  const isSource = import.meta.url.endsWith('.ts');
  const entry = fileURLToPath(new URL(isSource ? 'entry.ts' : 'entry.js', import.meta.url));
  const loader = isSource ? ['--import', import.meta.resolve('tsx')] : [];
  return fork(entry, {
    serialization: 'advanced',
    execArgv: [...process.execArgv, ...loader],
    // Standard output is for the ready line of the first process; the log of all goes to standard error.
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
}
