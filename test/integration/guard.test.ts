import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  credentials,
  type handleUnaryCall,
  Metadata,
  makeClientConstructor,
  Server,
  ServerCredentials,
  status,
} from '@grpc/grpc-js';
import { describe, it } from 'mocha';
import { pino } from 'pino';
import { stringify } from 'yaml';
import { makeApiKey } from '../../src/auth/api-keys.js';
import { openGuard } from '../../src/auth/guard.js';
import { requirementOf } from '../../src/auth/identity.js';
import { loadConfig } from '../../src/config/load.js';
import { OpenCalls } from '../../src/server/handlers/open-calls.js';
import { silentLogger } from '../../src/telemetry/logger.js';
import { Telemetry } from '../../src/telemetry/telemetry.js';
import { refusal } from '../support/protocol/grpc-client.js';

/** A service that changes the server, as a later version may have; its messages are bytes. */
const bytes = { serialize: (value: Buffer) => value, deserialize: (value: Buffer) => value };
const ADMIN_SERVICE = {
  unload: {
    path: '/salad.v1.ModelAdmin/Unload',
    requestStream: false,
    responseStream: false,
    requestSerialize: bytes.serialize,
    requestDeserialize: bytes.deserialize,
    responseSerialize: bytes.serialize,
    responseDeserialize: bytes.deserialize,
  },
} as const;

describe('the guard for calls that change the server', () => {
  it('requires the scope of every method, and "admin" for unknown methods', () => {
    assert.deepEqual(
      [
        '/grpc.health.v1.Health/Watch',
        '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
        '/salad.v1.AnomalyScoring/StreamAcquisition',
        '/salad.v1.ModelRegistry/List',
        '/salad.v1.ModelRegistry/Load',
        '/salad.v1.Anything/Else',
        '/inference.GRPCInferenceService/ServerLive',
        '/inference.GRPCInferenceService/ModelInfer',
        '/inference.GRPCInferenceService/RepositoryIndex',
        '/inference.GRPCInferenceService/RepositoryModelUnload',
        '/inference.GRPCInferenceService/LogSettings',
      ].map(requirementOf),
      [
        ...['none', 'identity', 'score', 'score', 'admin', 'admin'],
        ...['none', 'score', 'score', 'admin', 'admin'],
      ],
    );
  });

  it('admits them with the setting and the scope only, and logs identities but no credentials', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'salad-guard-'));
    const file = join(folder, 'keys.yaml');
    const keys = {
      scorer: makeApiKey({ name: 'scorer', scopes: ['score'] }),
      admin: makeApiKey({ name: 'admin', scopes: ['admin'] }),
    };
    await writeFile(file, stringify({ keys: [keys.scorer.entry, keys.admin.entry] }));
    const lines: string[] = [];
    const logger = pino({ level: 'debug' }, { write: (line) => void lines.push(line) });
    const call = async (admin: boolean, key: string | undefined) => {
      const config = await loadConfig({ flags: { admin, authApiKeysFile: file } });
      const guard = await openGuard(config, logger);
      const calls = new OpenCalls({
        logger,
        telemetry: new Telemetry(silentLogger()),
        retryDelayMs: config.retryDelayMs,
        requestEndTimeoutMs: 5000,
        unreadTimeoutMs: 5000,
      });
      const server = new Server({ interceptors: [calls.interceptor, guard.interceptor] });
      const unload: handleUnaryCall<Buffer, Buffer> = (_call, callback) =>
        callback(null, Buffer.from('done'));
      server.addService(ADMIN_SERVICE, { unload });
      const port = await new Promise<number>((resolve, reject) => {
        server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
          error ? reject(error) : resolve(bound),
        );
      });
      const Client = makeClientConstructor(ADMIN_SERVICE, 'ModelAdmin');
      const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
      const metadata = new Metadata();
      if (key !== undefined) metadata.set('x-api-key', key);
      try {
        return await new Promise<string>((resolve, reject) => {
          client['unload']?.(Buffer.alloc(0), metadata, (error: Error | null, answer: Buffer) =>
            error ? reject(error) : resolve(answer.toString()),
          );
        });
      } finally {
        client.close();
        server.forceShutdown();
        guard.close();
      }
    };
    const refusedWith = async (admin: boolean, key: string | undefined) => {
      const { code, reason } = await refusal(call(admin, key));
      return [status[code], reason];
    };
    try {
      assert.equal(await call(true, keys.admin.key), 'done');
      assert.deepEqual(await refusedWith(true, keys.scorer.key), ['PERMISSION_DENIED', 'SCOPE_MISSING']);
      assert.deepEqual(await refusedWith(false, keys.admin.key), ['PERMISSION_DENIED', 'ADMIN_DISABLED']);
      assert.deepEqual(await refusedWith(true, undefined), ['UNAUTHENTICATED', 'CREDENTIALS_MISSING']);
      const log = lines.map(
        (line) => JSON.parse(line) as { identity?: string; reason?: string; peer?: string },
      );
      assert.deepEqual(
        log.map(({ identity, reason }) => identity ?? reason),
        ['key admin', 'SCOPE_MISSING', 'ADMIN_DISABLED', 'CREDENTIALS_MISSING'],
      );
      assert.ok(log.every(({ peer }) => peer?.startsWith('127.0.0.1:')));
      assert.ok(!lines.some((line) => line.includes(keys.admin.key) || line.includes(keys.scorer.key)));
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
