/**
 * Real servers for test suites of other languages: a program that takes one JSON command a line and answers each with one
 * line. It ends, and everything with it, when its standard input ends.
 *
 * - `{"do":"start","flags":{…},"tls":true,"apiKeys":true,"tokens":true}`: a server with small bundles; flags are settings.
 *   Gives `{"server":0,"address":…}`; where asked, `ca`, `certificate` and `privateKey` as PEM, `apiKey`, and `token` and
 *   `expiredToken`.
 * - `{"do":"stop","server":0,"graceMs":0}`
 * - `{"do":"budget","server":0}`: what open acquisitions hold, `{"open":0,"bytes":0}`.
 * - `{"do":"proxy","server":0}`: a TCP hop before the server, `{"proxy":0,"address":…}`.
 * - `{"do":"proxyState","proxy":0}`: `{"opened":…,"bytes":…}`. `{"do":"reset","proxy":0,"afterBytes":n}`: all connections
 *   are reset once the client has sent n bytes more.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { RunningServer } from '../../../src/server/server.js';
import { writeSmallBundle } from '../engines/small-bundle.js';
import { secure } from '../network/secured.js';
import { startTcpProxy, type TcpProxy } from '../network/tcp-proxy.js';
import { startSmall } from './small-server.js';

interface Command {
  readonly do: string;
  readonly flags?: Readonly<Record<string, unknown>>;
  readonly tls?: boolean;
  readonly apiKeys?: boolean;
  readonly tokens?: boolean;
  readonly server?: number;
  readonly proxy?: number;
  readonly graceMs?: number;
  readonly afterBytes?: number;
}

interface Hop {
  readonly proxy: TcpProxy;
  bytes: number;
  resetAt: number;
}

const folder = await mkdtemp(join(tmpdir(), 'salad-server-program-'));
const models = join(folder, 'models');
await writeSmallBundle(models);
await writeSmallBundle(models, { version: 2 });
await writeSmallBundle(models, { name: 'stretched', intensity: { kind: 'percentile', low: 1, high: 99 } });
await writeSmallBundle(models, { name: 'padded', fit: 'pad' });
const servers: RunningServer[] = [];
const hops: Hop[] = [];

async function start({ flags = {}, tls = false, apiKeys = false, tokens = false }: Command) {
  const secured = await secure(join(folder, String(servers.length)), { tls, apiKeys, tokens });
  const server = await startSmall(models, { ...secured.flags, ...flags });
  return { ...secured.credentials, server: servers.push(server) - 1, address: server.address };
}

async function startProxy({ server = 0 }: Command) {
  const hop = { bytes: 0, resetAt: Number.POSITIVE_INFINITY };
  const proxy = await startTcpProxy({ host: '127.0.0.1', port: serverOf(server).port }, (total) => {
    hop.bytes = total;
    if (total < hop.resetAt) return;
    hop.resetAt = Number.POSITIVE_INFINITY;
    proxy.reset();
  });
  hops.push(Object.assign(hop, { proxy }));
  return { proxy: hops.length - 1, address: proxy.address };
}

function serverOf(index: number): RunningServer {
  const server = servers[index];
  if (server === undefined) throw new Error(`no server ${index}`);
  return server;
}

function hopOf(index: number): Hop {
  const hop = hops[index];
  if (hop === undefined) throw new Error(`no proxy ${index}`);
  return hop;
}

async function carryOut(command: Command): Promise<Record<string, unknown>> {
  const { server = 0, proxy = 0 } = command;
  switch (command.do) {
    case 'start':
      return start(command);
    case 'stop':
      await serverOf(server).stop(command.graceMs ?? 0);
      return {};
    case 'budget': {
      const { open, bytes } = serverOf(server).registry.budget;
      return { open, bytes };
    }
    case 'proxy':
      return startProxy(command);
    case 'proxyState':
      return { opened: hopOf(proxy).proxy.opened, bytes: hopOf(proxy).bytes };
    case 'reset':
      hopOf(proxy).resetAt = hopOf(proxy).bytes + (command.afterBytes ?? 0);
      return {};
    default:
      throw new Error(`no command ${command.do}`);
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const answer = await carryOut(JSON.parse(line) as Command).catch((error: Error) => ({
    error: error.message,
  }));
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
for (const { proxy } of hops) await proxy.close();
for (const server of servers) await server.stop(0);
await rm(folder, { recursive: true, force: true });
process.exit(0);
