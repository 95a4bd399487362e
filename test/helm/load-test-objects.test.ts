import assert from 'node:assert/strict';
import { dirname } from 'node:path';
import { describe, it } from 'mocha';
import { createProgram } from '../../src/cli/program.js';
import { find, type KubernetesObject, render, variants } from '../support/programs/chart.js';

const SERVER = 'ci-salad-serve';

/** Parses the arguments of a load as the command does, without running it. */
async function parseLoad(args: readonly string[]): Promise<{ readonly error?: unknown }> {
  const program = await createProgram({ environment: {} });
  program.commands.find((each) => each.name() === 'load')?.action(() => {});
  try {
    const indexed = args.map((arg) => arg.replaceAll('$(JOB_COMPLETION_INDEX)', '0'));
    await program.parseAsync(['node', 'salad', ...indexed]);
    return {};
  } catch (error) {
    return { error };
  }
}

describe('the load test of the chart', function () {
  this.timeout(60_000);

  it('divides a load test among the pods of an Indexed Job, and adds their reports', async () => {
    const objects = await render((await variants()).get('mutual-tls'));
    const [job, merge] = objects.filter(({ kind }) => kind === 'Job') as KubernetesObject[];
    assert.ok(job && merge);
    const { completionMode, completions, parallelism } = job['spec'];
    assert.deepEqual([completionMode, completions, parallelism], ['Indexed', 4, 4]);
    const args = (each: KubernetesObject): string[] => each['spec'].template.spec.containers[0].args;
    const flagValue = (list: readonly string[], flag: string) => list[list.indexOf(flag) + 1] ?? '';
    assert.equal(flagValue(args(job), '--share'), '$(JOB_COMPLETION_INDEX)/4');
    assert.equal(flagValue(args(job), '--target'), `dns:///${SERVER}-headless:50051`);
    assert.ok(find(objects, 'Service', `${SERVER}-headless`));
    const folder = dirname(flagValue(args(job), '--out'));
    assert.deepEqual(args(merge).slice(0, 5), ['load', 'merge', folder, '--expect', '4']);
    // Each generator alone would refuse what all of them together reach.
    assert.ok(!args(job).includes('--slo') && args(merge).includes('acquisition.p99<5s'));
    for (const { containers, volumes } of [job, merge].map((each) => each['spec'].template.spec)) {
      const mount = containers[0].volumeMounts.find(({ name }: { name: string }) => name === 'results');
      assert.equal(mount.mountPath, '/results');
      const volume = volumes.find(({ name }: { name: string }) => name === 'results');
      assert.equal(volume.persistentVolumeClaim.claimName, 'load-results');
    }
  });

  it('offers every flag of the load as a value, and passes each value on', async () => {
    const settings = {
      ...{ mix: ['phantom,priority=stat', 'phantom@1'], mode: 'rows', size: 256, sweep: '4,8' },
      ...{ intervalMs: 20, acquisitionMs: 300, durationSeconds: 7, warmUpSeconds: 2, windowSeconds: 0.5 },
      ...{ timeoutMs: 9000, seed: 5, generators: 2, processes: 3, connections: 6, alignStartSeconds: 15 },
    };
    const jobOf = async (loadTest: object) => {
      const objects = await render({ tls: { mode: 'plaintext' }, loadTest: { enabled: true, ...loadTest } });
      return find(objects, 'Job', `${SERVER}-load-1`)['spec'].template.spec.containers[0].args as string[];
    };
    const all = [
      ...(await jobOf(settings)),
      ...(await jobOf({ ramp: '1:9:2', stablePercent: 5, priority: 'background' })),
      ...(await jobOf({ rate: 2.5 })),
      ...(await jobOf({ mode: 'rows', files: { claimName: 'i' } })),
      ...(await jobOf({ results: { claimName: 'c', requests: 'csv' } })),
      ...(await jobOf({ results: { claimName: 'c', requests: 'jsonl' } })),
    ];
    assert.ok(
      ['2.5', '1:9:2', '4,8', 'background', '0.5', 'phantom@1', '5', '15'].every((text) =>
        all.includes(text),
      ),
    );
    const { commands } = await createProgram({ environment: {} });
    const command = commands.find((each) => each.name() === 'load');
    // The rest is set by the chart, comes from the Secrets, or starts a server of the command's own.
    const others = /^--(tls|.*-file|models|engine|target|json)$/;
    const flags = (command?.options ?? []).map(({ long }) => long ?? '').filter((flag) => !others.test(flag));
    assert.ok(flags.length > 20);
    for (const flag of flags) assert.ok(all.includes(flag), `${flag} is no value of the chart`);
    const { error } = await parseLoad(await jobOf(settings));
    assert.equal(error, undefined);
  });

  it('mounts the images read-only in the generators, also where the reports are in the same claim', async () => {
    const podsOf = async (claimName: string) => {
      const objects = await render({
        tls: { mode: 'plaintext' },
        loadTest: {
          ...{ enabled: true, mode: 'image', files: { claimName: 'site', subPath: 'images/a' } },
          results: { claimName, requests: 'csv' },
        },
      });
      return ['', '-merge'].map(
        (suffix) => find(objects, 'Job', `${SERVER}-load-1${suffix}`)['spec'].template.spec,
      );
    };
    const mountAt = (pod: KubernetesObject, path: string) =>
      pod['containers'][0].volumeMounts.find((mount: KubernetesObject) => mount['mountPath'] === path);
    const claimsOf = (pod: KubernetesObject) =>
      pod['volumes'].flatMap(({ name, persistentVolumeClaim }: KubernetesObject) =>
        persistentVolumeClaim ? [{ name, ...persistentVolumeClaim }] : [],
      );

    const [own, merge] = await podsOf('results');
    assert.ok(own && merge);
    assert.deepEqual(mountAt(own, '/images'), {
      ...{ name: 'files', mountPath: '/images', readOnly: true, subPath: 'images/a' },
    });
    const results = { name: 'results', claimName: 'results' };
    assert.deepEqual(claimsOf(own), [results, { name: 'files', claimName: 'site', readOnly: true }]);
    const args: readonly string[] = own['containers'][0].args;
    const at = (flag: string) => args[args.indexOf(flag) + 1] ?? '';
    assert.equal(at('--files'), '/images');
    assert.equal(at('--csv'), at('--out').replace(/json$/, 'csv'));
    assert.equal(mountAt(merge, '/images'), undefined);
    assert.deepEqual(claimsOf(merge), [results]);

    const [shared] = await podsOf('site');
    assert.ok(shared);
    assert.deepEqual(mountAt(shared, '/images'), {
      ...{ name: 'results', mountPath: '/images', readOnly: true, subPath: 'images/a' },
    });
    assert.deepEqual(claimsOf(shared), [{ name: 'results', claimName: 'site' }]);
  });
});
