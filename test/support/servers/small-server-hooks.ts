/** Mocha hooks for tests of connections: one models folder for all tests, and a server and its connections for each. */
import type { ClientHttp2Session } from 'node:http2';
import { after, afterEach, before } from 'mocha';
import type { RunningServer } from '../../../src/server/server.js';
import { connectRaw, type RawOptions } from '../protocol/raw-grpc.js';
import { type ModelsFolder, smallModels, startSmall } from './small-server.js';

export interface SmallServer {
  /** The server of the current test. @throws Error before `start` */
  readonly server: RunningServer;
  start(flags?: Record<string, unknown>): Promise<RunningServer>;
  /** Opens an HTTP/2 connection that is closed after the test. */
  raw(options?: RawOptions): Promise<ClientHttp2Session>;
  /** Registers a cleanup that runs after the test, before the server is stopped. */
  closeAfterTest(close: () => void): void;
}

/** Must be called within `describe`. After each test it closes the connections and stops the server. */
export function useSmallServer(): SmallServer {
  let models: ModelsFolder;
  let server: RunningServer | undefined;
  const cleanups: (() => void)[] = [];
  before(async () => {
    models = await smallModels();
  });
  after(() => models.remove());
  afterEach(async () => {
    for (const close of cleanups.splice(0)) close();
    await server?.stop(0);
    server = undefined;
  });
  const running = (): RunningServer => {
    if (server === undefined) throw new Error('the test has not started a server');
    return server;
  };
  return {
    get server() {
      return running();
    },
    async start(flags = {}) {
      server = await startSmall(models.path, flags);
      return server;
    },
    async raw(options = {}) {
      const session = await connectRaw(running().address, options);
      cleanups.push(() => session.destroy());
      return session;
    },
    closeAfterTest: (close) => void cleanups.push(close),
  };
}
