/** Renders the charts with the helm that scripts/helm/tools.mjs builds. */
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { parse, parseAllDocuments, stringify } from 'yaml';
import { root } from '../root.js';

const execute = promisify(execFile);
export const CHART = join(root, 'helm/salad-serve');
export const MODALITY_CHART = join(root, 'helm/salad-modality');

// biome-ignore lint/suspicious/noExplicitAny: Kubernetes objects, whose form kubeconform checks
export type KubernetesObject = Record<string, any>;

/** Rejects with the output of helm if it refuses the values. */
export async function render(values: unknown, release = 'ci', chart = CHART): Promise<KubernetesObject[]> {
  const folder = await mkdtemp(join(tmpdir(), 'salad-chart-'));
  try {
    const file = join(folder, 'values.yaml');
    await writeFile(file, stringify(values));
    const { stdout } = await execute(
      join(root, '.cache/helm/bin/helm'),
      ['template', release, chart, '--kube-version', '1.37.0', '--namespace', 'salad', '--values', file],
      { maxBuffer: 1e8 },
    );
    return parseAllDocuments(stdout)
      .map((each) => each.toJS() as KubernetesObject | null)
      .filter((each) => each !== null);
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** The values of every file in ci/, by variant name. */
export async function variants(chart = CHART): Promise<Map<string, KubernetesObject>> {
  const names = (await readdir(join(chart, 'ci'))).sort();
  const texts = await Promise.all(names.map((name) => readFile(join(chart, 'ci', name), 'utf8')));
  return new Map(names.map((name, index) => [name.replace('-values.yaml', ''), parse(texts[index] ?? '')]));
}

export function find(objects: readonly KubernetesObject[], kind: string, name?: string): KubernetesObject {
  const found = objects.filter(
    (each) => each['kind'] === kind && (name === undefined || each['metadata'].name === name),
  );
  if (found.length !== 1) throw new Error(`${found.length} objects of kind ${kind} ${name ?? ''}`);
  return found[0] as KubernetesObject;
}

/** The specs of all pods that the objects create. */
export function podSpecs(objects: readonly KubernetesObject[]): KubernetesObject[] {
  return objects.flatMap((each) =>
    each['kind'] === 'Pod' ? [each['spec']] : each['spec']?.template ? [each['spec'].template.spec] : [],
  );
}
