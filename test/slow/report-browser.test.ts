/** The HTML reports in a real browser: Debian's Chromium, which `npm run browser` installs. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { after, afterEach, before, describe, it } from 'mocha';
import { type Browser, chromium, type Locator, type Page } from 'playwright-core';
import sharp from 'sharp';
import type { RunningServer } from '../../src/server/server.js';
import { createRandom } from '../../src/util/random.js';
import { phantomPng, writeFiles } from '../support/images/image-folders.js';
import { runSalad } from '../support/programs/in-process-salad.js';
import { root } from '../support/root.js';
import { type ModelsFolder, smallModels, startSmall } from '../support/servers/small-server.js';

const [ROWS, COLUMNS] = [96, 240];

/** Pixels of a screenshot that are no grey. */
async function colouredPixels(locator: Locator): Promise<number> {
  const { data, info } = await sharp(await locator.screenshot())
    .removeAlpha()
    .raw()
    .toBuffer({ resolveWithObject: true });
  let count = 0;
  for (let at = 0; at < data.length; at += info.channels) {
    if (
      Math.max(data[at]!, data[at + 1]!, data[at + 2]!) - Math.min(data[at]!, data[at + 1]!, data[at + 2]!) >
      24
    )
      count += 1;
  }
  return count;
}

describe('reports in a browser', function () {
  this.timeout(120_000);
  const folder = mkdtempSync(join(tmpdir(), 'salad-browser-'));
  const at = (...names: string[]) => join(folder, ...names);
  let models: ModelsFolder;
  let server: RunningServer;
  let browser: Browser;
  let page: Page;
  let faults: string[];

  before(async function () {
    const { browserPath } = await import(join(root, 'scripts/browser.mjs'));
    const executablePath: string | undefined = browserPath();
    if (executablePath === undefined) {
      assert.ok(process.env['CI'] === undefined, 'CI installs the browser');
      this.skip();
    }
    models = await smallModels({ fit: 'pad', margin: 1 });
    server = await startSmall(models.path);
    mkdirSync(at('in'));
    for (let seed = 1; seed <= 4; seed += 1) {
      const random = createRandom(seed);
      const samples = Uint8Array.from({ length: ROWS * COLUMNS }, () => 256 * random());
      const raw = { width: COLUMNS, height: ROWS, channels: 1 } as const;
      writeFileSync(at('in', `<b>${seed}.png`), await sharp(samples, { raw }).png().toBuffer());
    }
    writeFileSync(at('in', 'broken.png'), 'no image');
    await runSalad(
      ...['score', at('in'), '--target', server.address, '--model', 'small'],
      ...['--max-false-positive-rate', '0.8', '--report', at('score.html')],
    );
    await writeFiles(at('set'), {
      'normal/1.png': await phantomPng(901, 256, 'none'),
      'normal/2.png': await phantomPng(902, 256, 'none'),
      'effusion/3.png': await phantomPng(903, 256, 'effusion'),
      'effusion/4.png': await phantomPng(904, 256, 'effusion'),
      'boxes.tsv': Buffer.from('path\tx\ty\tw\th\neffusion/3.png\t30\t120\t60\t80\n'),
    });
    const evaluated = await runSalad(
      ...['evaluate', '--model', 'phantom', '--data', at('set'), '--report', at('evaluate.html')],
    );
    assert.equal(evaluated.code, 0, evaluated.stderr);
    browser = await chromium.launch({ executablePath, args: ['--disable-gpu'] });
  });
  after(async () => {
    await browser?.close();
    await server?.stop(0);
    await models?.remove();
    rmSync(folder, { recursive: true });
  });
  afterEach(async () => {
    await page?.context().close();
  });

  /** Opens a report without a network. An error or a request of the page fails the test. */
  async function open(name: string, options: Parameters<Browser['newContext']>[0] = {}): Promise<void> {
    const context = await browser.newContext({
      viewport: { width: 1200, height: 900 },
      offline: true,
      ...options,
    });
    page = await context.newPage();
    faults = [];
    page.on('console', (message) => faults.push(message.text()));
    page.on('pageerror', (error) => faults.push(error.message));
    page.on('request', (request) => {
      if (!/^(file|data):/.test(request.url())) faults.push(request.url());
    });
    await page.goto(pathToFileURL(at(name)).href);
  }

  const firstMap = () => page.locator('section.image figure:nth-child(2) svg.picture').first();
  const columnOf = (column: number) =>
    page.locator(`table[data-sortable] tbody tr td:nth-child(${column})`).allInnerTexts();

  it('show the image without and with its map, without an error or a request', async () => {
    await open('score.html');
    assert.equal(await page.locator('section.image').count(), 4);
    const plain = page.locator('section.image figure:nth-child(1) svg.picture').first();
    const box = (await plain.boundingBox())!;
    assert.ok(Math.abs(box.width / box.height - COLUMNS / ROWS) < 0.02, 'the aspect of the file');
    assert.equal(await colouredPixels(plain), 0);
    assert.ok((await colouredPixels(firstMap())) > 500);
    assert.ok(await page.getByText('broken.png').first().isVisible());
    assert.equal(await page.locator('section.image b').count(), 0, 'a file name is no markup');
    assert.deepEqual(faults, []);
  });

  it('fade the map with a slider that the keyboard moves, and hide outlines', async () => {
    await open('score.html');
    const slider = page.getByRole('slider');
    const full = await colouredPixels(firstMap());
    await slider.focus();
    for (let step = 0; step < 10; step += 1) await page.keyboard.press('ArrowLeft');
    assert.equal(await page.locator('output').textContent(), '50 %');
    const half = await colouredPixels(firstMap());
    await page.keyboard.press('Home');
    assert.ok(half > 0 && (await colouredPixels(firstMap())) === 0 && half <= full);
    const top = page.locator('section.image polygon.outline.top:not(.casing)').first();
    assert.ok(await top.isVisible());
    await page.getByRole('checkbox', { name: 'highest patch' }).focus();
    await page.keyboard.press('Space');
    assert.ok(!(await top.isVisible()));
    const others = page.locator('section.image polygon.outline.other:not(.casing)').first();
    assert.ok(!(await others.isVisible()), 'hidden at first');
    await page.getByRole('checkbox', { name: 'other high patches' }).check();
    assert.ok(await others.isVisible());
    assert.deepEqual(faults, []);
  });

  it('sort their table by a column, up and down, by mouse and keyboard', async () => {
    await open('score.html');
    const scores = (await columnOf(3)).map(Number);
    assert.deepEqual(
      scores,
      [...scores].sort((a, b) => b - a),
      'highest first',
    );
    const header = page.getByRole('columnheader', { name: 'image score' });
    await header.getByRole('button').click();
    assert.equal(await header.getAttribute('aria-sort'), 'ascending');
    assert.deepEqual(
      (await columnOf(3)).map(Number),
      [...scores].sort((a, b) => a - b),
    );
    await page.getByRole('columnheader', { name: 'file' }).getByRole('button').focus();
    await page.keyboard.press('Enter');
    const files = await columnOf(1);
    assert.deepEqual(files, [...files].sort().reverse());
    assert.equal(await header.getAttribute('aria-sort'), null);
  });

  it('lead from the table to the picture', async () => {
    await open('score.html');
    const link = page.locator('table[data-sortable] tbody tr').nth(2).locator('a');
    const name = await link.textContent();
    await link.click();
    const target = page.locator('section.image:target');
    assert.equal(await target.locator('h3').textContent(), name);
    const { y } = (await target.boundingBox())!;
    const toolbar = (await page.locator('.toolbar').boundingBox())!;
    assert.ok(y >= toolbar.y + toolbar.height - 1, 'not behind the toolbar');
  });

  it('show everything without scripts, but no controls', async () => {
    await open('score.html', { javaScriptEnabled: false });
    assert.ok((await colouredPixels(firstMap())) > 500);
    assert.ok(!(await page.locator('.toolbar').isVisible()));
  });

  it('fit a narrow window, and a dark one', async () => {
    for (const name of ['score.html', 'evaluate.html']) {
      await open(name, { viewport: { width: 380, height: 800 }, colorScheme: 'dark' });
      const [needed, given] = await page.evaluate<number[]>(
        '[document.documentElement.scrollWidth, document.documentElement.clientWidth]',
      );
      assert.ok(needed! <= given!, `${name}: ${needed} of ${given} pixels`);
      const [text, paper] = await page.evaluate<string[]>(
        '[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]',
      );
      const grey = (rgb: string): number => Number(/\d+/.exec(rgb)?.[0]);
      assert.ok(grey(text!) > 200 && grey(paper!) < 50, `${text} on ${paper}`);
      assert.deepEqual(faults, []);
      await page.context().close();
    }
  });

  it('of an evaluation show hits with the boxes of the data, and thresholds on the curve', async () => {
    await open('evaluate.html');
    const thumbnail = page.locator('.sheet a').first();
    assert.ok((await colouredPixels(thumbnail)) > 50, 'the thumbnail shows the map');
    await thumbnail.click();
    assert.match((await page.locator('section.image:target h3').textContent())!, /^effusion\//);
    const truth = page.locator('section.image polygon.outline.truth:not(.casing)');
    assert.equal(await truth.count(), 1);
    assert.ok(await truth.isVisible());
    assert.ok((await page.locator('.charts circle').count()) >= 1);
    const covered = await page.locator('.charts svg').evaluateAll((charts) =>
      charts.flatMap((chart) => {
        const texts = [...chart.querySelectorAll('text')];
        const boxes = texts.map((text) => text.getBoundingClientRect());
        return boxes.flatMap((a, index) =>
          boxes.slice(index + 1).flatMap((b, later) => {
            const isApart = a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top;
            return isApart
              ? []
              : [`${texts[index]?.textContent} and ${texts[index + 1 + later]?.textContent}`];
          }),
        );
      }),
    );
    assert.deepEqual(covered, []);
    assert.equal((await columnOf(1)).length, 4);
    assert.deepEqual(faults, []);
  });
});
