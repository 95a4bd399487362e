/** Mocha hooks for tests of `salad serve` with two processes: a models folder, a folder, and a server for each test. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before } from 'mocha';
import { SaladClient } from '../../../clients/typescript/src/index.js';
import { type ServeProcess, startServe } from '../programs/salad.js';
import { registryClient } from '../protocol/registry-client.js';
import { type ModelsFolder, smallModels } from './small-server.js';

export const PROCESSES = 2;

export interface TwoProcesses {
  /** The server of the current test. */
  readonly server: ServeProcess;
  /** A temporary folder of all tests. */
  readonly folder: string;
  /** @param models folder @default one with the bundle `small` */
  start(settings?: Readonly<Record<string, unknown>>, models?: string): Promise<void>;
  /** A client with a connection of its own, closed after the test. The connections of two go to two processes. */
  client(options?: ConstructorParameters<typeof SaladClient>[1]): SaladClient;
  /** As `client`, of the model registry. */
  registry(): ReturnType<typeof registryClient>;
  /** Registers a cleanup that runs after the test, before the server is stopped. */
  closeAfterTest(close: () => void): void;
}

/** Must be called within `describe`. */
export function useTwoProcesses(): TwoProcesses {
  let small: ModelsFolder;
  let folder: string;
  let server: ServeProcess;
  const closers: (() => void)[] = [];
  before(async () => {
    small = await smallModels();
    folder = await mkdtemp(join(tmpdir(), 'salad-processes-'));
  });
  after(async () => {
    await small.remove();
    await rm(folder, { recursive: true });
  });
  afterEach(async () => {
    for (const close of closers.splice(0)) close();
    await server.stop('SIGKILL');
  });
  const closed = <T extends { close(): void }>(made: T): T => {
    closers.push(() => made.close());
    return made;
  };
  return {
    get server() {
      return server;
    },
    get folder() {
      return folder;
    },
    async start(settings = {}, models = small.path) {
      const flags = Object.entries(settings).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
      const engine = ['--engine', 'onnx', '--workers', '1', '--processes', String(PROCESSES)];
      server = await startServe('--models', models, ...engine, ...flags);
    },
    client: (options = {}) => closed(new SaladClient(server.address, { retry: false, ...options })),
    registry: () => closed(registryClient(server.address)),
    closeAfterTest: (close) => void closers.push(close),
  };
}
