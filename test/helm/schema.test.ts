import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { CHART, MODALITY_CHART, render } from '../support/programs/chart.js';

interface Schema {
  readonly $ref?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: boolean | Schema;
  readonly items?: Schema;
  readonly $defs?: Readonly<Record<string, Schema>>;
}

/** The keys of every object of a chart's schema with named keys, by JSON pointer; arrays by their element 0. */
function namedObjects(chart: string): Map<string, string[]> {
  const schema = JSON.parse(readFileSync(join(chart, 'values.schema.json'), 'utf8')) as Schema;
  const resolve = (each: Schema): Schema =>
    each.$ref === undefined ? each : resolve(schema.$defs?.[each.$ref.replace('#/$defs/', '')] ?? {});
  const into = new Map<string, string[]>();
  const collect = (of: Schema, pointer: string) => {
    const { properties, items } = resolve(of);
    if (items) collect(items, `${pointer}/0`);
    if (properties) {
      into.set(pointer, Object.keys(properties));
      for (const [key, each] of Object.entries(properties)) {
        if (key !== 'global') collect(each, `${pointer}/${key}`);
      }
    }
  };
  collect(schema, '');
  return into;
}

/** Of each chart: objects that its schema must know, and the number of their keys at least. */
const SCHEMAS = [
  {
    chart: CHART,
    pointers: ['', '/config', '/tls/issuerRef', '/models/bundles/0', '/tolerations/0'],
    keys: 300,
  },
  {
    chart: MODALITY_CHART,
    pointers: ['', '/config', '/config/dicom/callers/0', '/config/destinations/0', '/tls/issuerRef'],
    keys: 250,
  },
];

/** Makes one typing error at `position`: a letter left out, doubled, swapped with the next, or in the other case. */
function misspell(key: string, errorKind: number, position: number): string {
  const at = position % key.length;
  const letter = key.charAt(at);
  const other = letter === letter.toLowerCase() ? letter.toUpperCase() : letter.toLowerCase();
  const replaced = [
    '',
    letter + letter,
    key.charAt(at + 1) + letter,
    other === letter ? `${letter}_` : other,
  ][errorKind % 4];
  return key.slice(0, at) + replaced + key.slice(at + (errorKind % 4 === 2 ? 2 : 1));
}

describe("the charts' values.schema.json", function () {
  this.timeout(120_000);

  for (const { chart, pointers, keys: expectedKeys } of SCHEMAS)
    describe(basename(chart), () => {
      const objects = namedObjects(chart);

      it('has the keys of every object, including those of Kubernetes', () => {
        const keys = [...objects.values()].flat();
        assert.ok(keys.length > expectedKeys, String(keys.length));
        for (const pointer of pointers) assert.ok(objects.has(pointer), pointer);
      });

      it('refuses every key with one typing error', async () => {
        await fc.assert(
          fc.asyncProperty(fc.nat(3), fc.nat(40), async (errorKind, position) => {
            const values: Record<string, unknown> = {};
            const expected: string[] = [];
            for (const [pointer, keys] of objects) {
              const target = objectAt(values, pointer);
              for (const key of keys) {
                const wrong = misspell(key, errorKind, position);
                if (keys.includes(wrong) || wrong === '') continue;
                target[wrong] = 'x';
                expected.push(`${pointer} ${wrong}`);
              }
            }
            assert.ok(expected.length > expectedKeys * 0.8);
            const refused = await refusedKeys(values, chart);
            assert.deepEqual(
              expected.filter((each) => !refused.has(each)),
              [],
            );
          }),
          { numRuns: 12 },
        );
      });
    });

  it('refuses invalid values with a message that names them', async () => {
    const plaintext = { tls: { mode: 'plaintext' } };
    for (const [values, message] of [
      [{ engine: 'cuda' }, /\/engine/],
      [{ replicaCount: '3' }, /\/replicaCount/],
      [{ config: { maxQueueMs: 0 } }, /\/config\/maxQueueMs/],
      [{ config: { listen: '0.0.0.0:1' } }, /'listen' not allowed/],
      [{ resources: { limits: { memmory: '1Gi' } } }, /'memmory' not allowed/],
      [{ image: { digest: 'latest' } }, /\/image\/digest/],
      [{ models: { source: 'oci', reference: 'bundles:latest' } }, /\/models\/reference/],
      [{ models: { source: 'download', bundles: [{ url: 'https://x/y' }] } }, /sha256/],
    ] as const) {
      await assert.rejects(render({ ...plaintext, ...values }), message);
    }
  });

  it('refuses incomplete combinations of values with a message that names the missing value', async () => {
    for (const [values, message] of [
      [{}, /tls\.mode: choose/],
      [{ tls: { mode: 'secret' } }, /tls\.secretName/],
      [{ tls: { mode: 'certManager' } }, /tls\.issuerRef\.name/],
      [{ tls: { mode: 'plaintext', clientCaSecretName: 'ca' } }, /client certificates need/],
      [{ tls: { mode: 'plaintext' }, models: { source: 'pvc' } }, /models\.claimName/],
      [{ tls: { mode: 'plaintext' }, autoscaling: { enabled: true, minReplicas: 9 } }, /minReplicas/],
      [{ tls: { mode: 'plaintext' }, grpcRoute: { enabled: true } }, /grpcRoute\.parentRefs/],
    ] as const) {
      await assert.rejects(render(values), message);
    }
  });
});

function objectAt(values: Record<string, unknown>, pointer: string): Record<string, unknown> {
  // biome-ignore lint/suspicious/noExplicitAny: objects and arrays alike
  let at: any = values;
  const steps = pointer.split('/').slice(1);
  for (const [index, step] of steps.entries()) {
    at[step] ??= steps[index + 1] === '0' ? [] : {};
    at = at[step];
  }
  return at;
}

/** Helm reports all unknown keys together: "- at '/config': additional properties 'a', 'b' not allowed". */
async function refusedKeys(values: unknown, chart: string): Promise<Set<string>> {
  const message = await render(values, 'ci', chart).then(
    () => '',
    (error: Error) => error.message,
  );
  const refused = new Set<string>();
  for (const [, pointer = '', keys = ''] of message.matchAll(
    /at '([^']*)': additional properties (.+) not allowed/g,
  )) {
    for (const [, key] of keys.matchAll(/'([^']+)'/g)) refused.add(`${pointer} ${key}`);
  }
  return refused;
}
