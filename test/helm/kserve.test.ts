import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { credentials } from '@grpc/grpc-js';
import { after, before, describe, it } from 'mocha';
import { parse } from 'yaml';
import { GRPCInferenceServiceClient } from '../../src/gen/inference/grpc_service.js';
import type { KubernetesObject } from '../support/programs/chart.js';
import { type ServeProcess, startServeUnder } from '../support/programs/salad.js';
import { root } from '../support/root.js';
import { type ModelsFolder, smallModels } from '../support/servers/small-server.js';

const read = (name: string) =>
  parse(readFileSync(join(root, 'helm/kserve', name), 'utf8')) as KubernetesObject;
const runtime = read('serving-runtime.yaml');
const service = read('inference-service.yaml');
const container = runtime['spec'].containers[0];

describe('the runtime of KServe', function () {
  this.timeout(60_000);
  let models: ModelsFolder;
  let server: ServeProcess;

  before(async () => {
    models = await smallModels();
    const environment: Record<string, string> = Object.fromEntries(
      (container.env as { name: string; value?: string }[])
        .filter(({ value }) => value !== undefined)
        .map(({ name, value }) => [name, String(value).replace(/:\d+$/, ':0')]),
    );
    // What the storage initializer mounts: one bundle, not NAME/VERSION folders.
    const args = (container.args as string[])
      .slice(1)
      .map((arg) => arg.replace('/mnt/models', join(models.path, 'small/1')).replace(/:8080$/, ':0'));
    server = await startServeUnder({ environment }, ...args, '--engine', 'onnx', '--workers', '1');
  });
  after(async () => {
    await server.stop();
    await models.remove();
  });

  it('serves a bundle by the Open Inference Protocol, with the arguments and variables of the runtime', async () => {
    const address = server.address.replace('0.0.0.0', '127.0.0.1');
    const client = new GRPCInferenceServiceClient(address, credentials.createInsecure());
    const ready = await new Promise((resolve, reject) => {
      client.modelReady({ name: 'small', version: '' }, (error, answer) =>
        error === null ? resolve(answer.ready) : reject(error),
      );
    });
    client.close();
    assert.equal(ready, true);
  });

  it('offers one port of HTTP/2 without TLS, the one that the server listens on', () => {
    assert.equal(container.ports.length, 1);
    assert.equal(container.ports[0].name, 'h2c');
    const listen = container.args[container.args.indexOf('--listen') + 1];
    assert.equal(listen, `0.0.0.0:${container.ports[0].containerPort}`);
  });

  it('is the runtime, format and protocol that the example of a service asks for', () => {
    const { model } = service['spec'].predictor;
    assert.equal(model.runtime, runtime['metadata'].name);
    assert.deepEqual(runtime['spec'].protocolVersions, [model.protocolVersion]);
    const formats = runtime['spec'].supportedModelFormats as { name: string; version: string }[];
    assert.ok(
      formats.some(
        ({ name, version }) => name === model.modelFormat.name && version === model.modelFormat.version,
      ),
    );
    assert.equal(service['metadata'].annotations['serving.kserve.io/deploymentMode'], 'Standard');
  });
});
