import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, it } from 'mocha';
import { STATES } from '../../../clients/modality/src/inbox/instance.js';
import { ERROR_REASONS } from '../../../src/errors/index.js';
import { anchorOf, hasCommit, type Page, pages, readPage, sources } from '../../support/docs.js';
import { root } from '../../support/root.js';

const LINE_COLUMNS_MAX = 120;
const README_LINES_MAX = 150;
/** A path of this repository in backticks, or in a comment: first folder, then the rest. */
const PATH = /(?<![\w./-])((?:src|workers|clients|bench|test|scripts|helm|proto|docs)\/[\w./-]*[\w/])/g;

const all = pages();

/** Pages that say how things are, not how they came to be. */
const timeless = all.filter(({ file }) => /^docs\/(reference|explanation|how-to|tutorials)\//.test(file));

describe('the documentation', () => {
  it('links to files and headings that exist', () => {
    const broken = all.flatMap((page) =>
      [...page.text.matchAll(/\]\(([^)\s]+)\)/g)]
        .map((match) => match[1] ?? '')
        .filter((target) => !/^https?:/.test(target) && !isSound(page, target))
        .map((target) => `${page.file}: ${target}`),
    );
    assert.deepEqual(broken, []);
  });

  it('names only files and folders that exist', () => {
    const missing = all.flatMap(({ file, text }) =>
      [...text.matchAll(/`([^`\n]+)`/g)]
        .flatMap((quoted) => [...(quoted[1] ?? '').matchAll(PATH)].map((match) => match[1] ?? ''))
        .filter((path) => !/\bNAME\b/.test(path) && !existsSync(join(root, path)))
        .map((path) => `${file}: ${path}`),
    );
    assert.deepEqual(missing, []);
  });

  it('is cited by pages and sections that exist', () => {
    const wrong = sources().flatMap(({ file, text }) =>
      [...text.matchAll(/(?<![\w-])([\w./-]*\b[\w-]+\.md)\b(?:,? sections? (\d+)|, ?"([^"\n]+)")?/g)].flatMap(
        ([cited, path = '', section, heading]) => {
          if (/^(https?:|\.)/.test(path) || /(MODEL_CARD|CHANGELOG|README|CONTRIBUTING|\*)/.test(path))
            return [];
          if (!path.startsWith('docs/'))
            return path.includes('/') || path.startsWith('_') ? [] : [`${file}: ${cited}`];
          if (!existsSync(join(root, path))) return [`${file}: ${cited}`];
          const { headings } = readPage(path);
          if (section !== undefined && !headings.some((text) => text.startsWith(`${section}.`))) {
            return [`${file}: ${cited}`];
          }
          return heading === undefined || headings.includes(heading) ? [] : [`${file}: ${cited}`];
        },
      ),
    );
    assert.deepEqual(wrong, []);
  });

  it('names only commits of the repository', () => {
    assert.ok(!hasCommit('0123456'), 'a commit that does not exist is found');
    const missing = all.flatMap(({ file, text }) =>
      [...text.matchAll(/(?<![\w.#-])([0-9a-f]{7})(?![\w-])/g)]
        .map((match) => match[1] ?? '')
        .filter((name) => /[a-f]/.test(name) && /\d/.test(name) && !hasCommit(name))
        .map((name) => `${file}: ${name}`),
    );
    assert.deepEqual(missing, []);
  });

  it('keeps lines of prose within 120 columns', () => {
    const long = [...all, readPage('CHANGELOG.md')]
      .filter(({ file }) => !file.startsWith('docs/reference/'))
      .flatMap(({ file, lines }) =>
        lines
          .filter(({ text }) => text.length > LINE_COLUMNS_MAX && !text.startsWith('|'))
          .map(({ number }) => `${file}:${number}`),
      );
    assert.deepEqual(long, []);
  });

  it('keeps history and measurements out of pages that explain', () => {
    const history = timeless.flatMap(({ file, lines }) =>
      lines
        .filter(({ text }) =>
          /\b(January|November|December) 20\d\d\b|\bused to\b|\bno longer\b|\b(was|were) removed\b/.test(
            text,
          ),
        )
        .map(({ number, text }) => `${file}:${number}: ${text}`),
    );
    assert.deepEqual(history, []);
  });

  it('names the command behind every table of results', () => {
    const results = all.filter(({ file }) => file.startsWith('docs/results/'));
    assert.ok(results.length >= 3);
    const silent = results.flatMap((page) => tablesWithoutCommand(page));
    assert.deepEqual(silent, []);
  });

  it('has a README of at most 150 lines', () => {
    assert.ok(readPage('README.md').text.split('\n').length <= README_LINES_MAX);
  });

  for (const [page, errorsMin] of [
    ['life-of-a-tile', 16],
    ['life-of-an-instance', 10],
  ] as const) {
    it(`names errors that exist in the page ${page}`, () => {
      const { text } = readPage(`docs/explanation/${page}.md`);
      const named = [...text.matchAll(/`([A-Z]+(?:_[A-Z]+)+)`/g)].map((match) => match[1] ?? '');
      const unknown = named.filter(
        (name) => !(name in ERROR_REASONS) && !/^(WARNING_KIND|DECISION)_/.test(name),
      );
      assert.ok(named.length >= errorsMin, `only ${named.length} errors are named`);
      assert.deepEqual(unknown, []);
    });
  }

  it('names every state of an instance, and every count of a recovery', () => {
    const { text } = readPage('docs/explanation/life-of-an-instance.md');
    const recovery = readFileSync(join(root, 'clients/modality/src/inbox/recovery.ts'), 'utf8');
    const [fields = ''] = /(?<=interface Recovery \{)[^}]*/.exec(recovery) ?? [];
    const counts = [...fields.matchAll(/readonly (\w+): number/g)].map((match) => match[1] ?? '');
    assert.ok(counts.length >= 4);
    const missing = [...STATES, ...counts].filter((name) => !text.includes(`\`${name}\``));
    assert.deepEqual(missing, []);
  });

  it('is listed in its index', () => {
    const index = readPage('docs/README.md').text;
    const decisions = readPage('docs/decisions/README.md').text;
    const unlisted = all
      .map(({ file }) => file)
      .filter((file) => file.startsWith('docs/') && !file.endsWith('README.md'))
      .filter((file) =>
        file.startsWith('docs/decisions/')
          ? !decisions.includes(file.replace('docs/decisions/', ''))
          : !index.includes(file.replace('docs/', '')),
      );
    assert.deepEqual(unlisted, []);
  });
});

function isSound(page: Page, target: string): boolean {
  const [path = '', anchor] = target.split('#');
  const file = path === '' ? page.file : join(dirname(page.file), path);
  if (!existsSync(join(root, file))) return false;
  return anchor === undefined || readPage(file).headings.some((heading) => anchorOf(heading) === anchor);
}

/** A table's command stands in its section, or in the introduction for all sections. */
function tablesWithoutCommand({ file, text }: Page): string[] {
  const [introduction = '', ...sections] = text.split(/^## /m);
  const hasCommand = (part: string) => /`(npm run|salad |npx |SALAD_\w+=|test\/|bench\/)[^`]*`/.test(part);
  if (hasCommand(introduction)) return [];
  return sections
    .filter((section) => section.includes('\n|') && !hasCommand(section))
    .map((section) => `${file}: ${section.split('\n')[0]}`);
}
