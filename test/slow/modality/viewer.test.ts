/**
 * Results as a person sees them: a radiograph goes to the archive (Debian's Orthanc) and, by DCMTK's storescu, to the
 * gateway; the OHIF viewer in Debian's Chromium shows the image and what the gateway sent to the archive.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, it } from 'mocha';
import { freePort } from '../../../bench/support/free-port.js';
import type { FrameResult } from '../../../clients/modality/src/scoring/score-instance.js';
import { needs, runProgram } from '../../support/dicom/dicom-programs.js';
import {
  type GatewayProcess,
  modality,
  startGatewayProcess,
  writeSettings,
} from '../../support/dicom/gateway-program.js';
import { Orthanc } from '../../support/dicom/orthanc.js';
import { isCyan, isYellow, type PixelAt, ViewerPage } from '../../support/dicom/viewer-page.js';
import { eventually } from '../../support/eventually.js';
import { runSalad } from '../../support/programs/in-process-salad.js';
import { type ServeProcess, startServe } from '../../support/programs/salad.js';
import { root } from '../../support/root.js';

const SIDE = 512;

describe('results in a viewer', function () {
  this.timeout(180_000);
  let folder: string;
  let archive: Orthanc;
  let server: ServeProcess;
  let gateway: GatewayProcess;
  let viewer: ChildProcess;
  let url: string;
  let shown: ViewerPage;
  let frame: FrameResult;

  before(async function () {
    await needs(this, 'Orthanc', 'storescu');
    const { browserPath } = await import(join(root, 'scripts/browser.mjs'));
    const { ohifFolder } = await import(join(root, 'scripts/viewer/ohif.mjs'));
    const [executablePath, ohif]: (string | undefined)[] = [browserPath(), ohifFolder()];
    if (executablePath === undefined || ohif === undefined) {
      assert.ok(process.env['CI'] === undefined, 'CI installs the browser and the viewer');
      console.log('    skipped: needs `npm run browser` and `node scripts/viewer/ohif.mjs`');
      this.skip();
    }
    folder = mkdtempSync(join(tmpdir(), 'salad-viewer-'));
    archive = new Orthanc(join(folder, 'orthanc'), await freePort(), await freePort());
    await archive.start();
    server = await startServe('--engine', 'onnx', '--workers', '1');
    const settings = writeSettings(folder, {
      server: { targets: [server.address], model: 'phantom' },
      destinations: [{ name: 'pacs', url: archive.dicomWeb, besidesReport: ['segmentation'] }],
    });
    gateway = await startGatewayProcess(settings);
    const image = await radiograph();
    await archive.store(readFileSync(image));
    const sent = await runProgram(
      ...(['storescu', '-aet', 'DX1', '-aec', 'SALAD', '127.0.0.1', String(gateway.port), image] as const),
    );
    assert.equal(sent.code, 0, sent.output);
    await eventually(async () => {
      const { lines } = await modality('show', '1', '--config', settings, '--json');
      assert.equal(lines[0]?.['state'], 'delivered');
      frame = (lines[0]['result'] as { frames: FrameResult[] }).frames[0]!;
    });
    assert.equal(frame.decision, 'anomalous');
    const [study] = await archive.studies();
    shown = await ViewerPage.open(executablePath, await startViewer(), study!);
  });
  after(async () => {
    await shown?.close();
    viewer?.kill();
    await gateway?.stop();
    await server?.stop();
    await archive?.kill();
    if (folder !== undefined) rmSync(folder, { recursive: true });
  });

  async function startViewer(): Promise<string> {
    const args = [join(root, 'scripts/viewer/main.mjs'), '--archive', archive.dicomWeb];
    const program = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    viewer = program;
    [url] = (await once(createInterface({ input: program.stdout }), 'line')) as [string];
    return url;
  }

  async function radiograph(): Promise<string> {
    const images = join(folder, 'images');
    const made = await runSalad(
      ...['phantom', '--count', '1', '--seed', '7', '--lesion', 'effusion'],
      ...['--size', String(SIDE), '--format', 'dicom', '--out', images],
    );
    assert.equal(made.code, 0, made.stderr);
    const name = readdirSync(join(images, 'effusion')).find((each) => each.endsWith('.dcm'));
    return join(images, 'effusion', name!);
  }

  it('shows the image in grey', async () => {
    await eventually(async () => {
      const at = await shown.look('image', SIDE, SIDE);
      const pixels = steps(8, SIDE).flatMap((row) => steps(8, SIDE).map((column) => at(column, row)));
      const bright = pixels.filter(([red]) => red > 40).length;
      assert.ok(bright > pixels.length / 4, `${bright} of ${pixels.length} pixels are not black`);
      assert.ok(!pixels.some(isCyan) && !pixels.some(isYellow));
    });
  });

  it('lists the segment, and colours what lies above the threshold', async () => {
    await shown.show('SEG');
    await shown.page.getByText('Do you want to open this Segmentation?').waitFor();
    await shown.page.getByRole('button', { name: 'Yes' }).click();
    await shown.part('panelSegmentation-btn').click();
    await shown.page.getByText('Differs from normal images').first().waitFor();
    await eventually(async () => {
      const at = await shown.look('segmentation', SIDE, SIDE);
      for (const { box } of frame.topPatches) {
        assert.ok(isCyan(at((box.left + box.right) / 2, (box.top + box.bottom) / 2)), JSON.stringify(box));
      }
      // The effusion is in the right half of the image, at its bottom.
      const upper = steps(32, SIDE / 2).flatMap((row) => steps(32, SIDE).map((column) => at(column, row)));
      assert.ok(!upper.some(isCyan));
    });
  });

  it('lists the regions of the report with their scores, and draws them where they are', async () => {
    await shown.show('SR');
    await shown.page.getByText('Do you want to continue tracking measurements').waitFor();
    await shown.page.getByRole('button', { name: 'Yes' }).click();
    await shown.part('trackedMeasurements-btn').click();
    await shown.page.getByText('Measurements (6)').waitFor();
    const listed = await shown.page.locator('body').textContent();
    assert.match(listed!, /Frame 1: image score 9\.77, p-value 0\.00249, threshold 4\.21/);
    frame.topPatches.forEach(({ robustZ }, index) => {
      assert.ok(listed!.includes(`Patch ${index + 1}: robust z ${Number(robustZ.toPrecision(3))}`), listed!);
    });
    await eventually(async () => {
      const at = await shown.look('report', SIDE, SIDE);
      for (const { box } of frame.topPatches) {
        const edge = steps(box.left, box.right);
        const drawn = edge.filter((column) => isNear(at, column, box.bottom));
        assert.ok(drawn.length > 0.75 * edge.length, `${drawn.length} of ${edge.length} of the lower edge`);
      }
    });
    assert.deepEqual(shown.faults, []);
  });

  it('is served for one machine, and changes nothing in the archive', async () => {
    const page = await fetch(`${url}viewer/any/page`);
    assert.match(await page.text(), /<title>OHIF Viewer/);
    assert.equal(page.headers.get('cross-origin-embedder-policy'), 'require-corp');
    assert.equal((await fetch(`${url}dicom-web/studies`)).status, 200);
    assert.equal((await fetch(`${url}dicom-web/studies`, { method: 'POST', body: 'x' })).status, 405);
    assert.match(await (await fetch(`${url}..%2f..%2fpackage.json`)).text(), /<title>OHIF Viewer/);
    assert.match(url, /^http:\/\/127\.0\.0\.1:/);
    await archive.kill();
    const away = await fetch(`${url}dicom-web/studies`);
    assert.equal(away.status, 502);
    assert.match(await away.text(), /the archive fails: .*ECONNREFUSED/);
  });
});

/** Every fourth pixel between two. */
function steps(from: number, to: number): readonly number[] {
  return Array.from({ length: (to - from) / 4 - 1 }, (_, index) => from + 4 * (index + 1));
}

/** Whether a horizontal line is at this place, give or take a pixel. */
function isNear(at: PixelAt, column: number, row: number): boolean {
  return [-1, -0.5, 0, 0.5, 1].some((off) => isYellow(at(column, row + off)));
}
