/** The OHIF viewer of scripts/viewer in Debian's Chromium, as a person uses it. */
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type Browser, chromium, type Locator, type Page } from 'playwright-core';
import sharp from 'sharp';
import { root } from '../root.js';

/** Without a GPU the browser draws WebGL on the CPU. */
const ARGS = ['--use-gl=angle', '--use-angle=swiftshader', '--enable-unsafe-swiftshader'];
/** Of what the viewer loads and draws first, on a busy machine. */
const FIRST_MS = 90_000;
const NEXT_MS = 30_000;

/** A rectangle in pixels of the image. */
export interface Box {
  readonly top: number;
  readonly left: number;
  readonly bottom: number;
  readonly right: number;
}

/** Red, green and blue at a column and row of the image, 0 to 255. */
export type PixelAt = (column: number, row: number) => readonly [number, number, number];

/** The colour of a report's regions in the viewer. */
export function isYellow([red, green, blue]: readonly [number, number, number]): boolean {
  return Math.min(red, green) - blue > 40;
}

/** The colour of a segmentation. */
export function isCyan([red, green, blue]: readonly [number, number, number]): boolean {
  return Math.min(green, blue) - red > 40;
}

export class ViewerPage {
  private constructor(
    private readonly browser: Browser,
    readonly page: Page,
    /** Errors of the page, and answers that were none. */
    readonly faults: readonly string[],
  ) {}

  /** Opens a study and waits until the viewer shows it. */
  static async open(executablePath: string, viewer: string, studyInstanceUid: string): Promise<ViewerPage> {
    const browser = await chromium.launch({ executablePath, args: ARGS });
    const page = await browser.newPage({ viewport: { width: 1400, height: 900 } });
    const faults: string[] = [];
    page.on('pageerror', ({ message }) => faults.push(message));
    page.on('response', (response) => {
      if (response.status() >= 400) faults.push(`${response.status()} ${response.url()}`);
    });
    // Otherwise a tour of the viewer covers the image.
    await page.addInitScript(`localStorage.setItem('shownTours', '["basicViewerTour"]')`);
    await page.goto(`${viewer}viewer?StudyInstanceUIDs=${studyInstanceUid}`, { timeout: FIRST_MS });
    await page.locator('canvas.cornerstone-canvas').first().waitFor({ timeout: FIRST_MS });
    page.setDefaultTimeout(NEXT_MS);
    return new ViewerPage(browser, page, faults);
  }

  /** Shows a series without pictures of its own, by its modality. */
  async show(modality: string): Promise<void> {
    await this.part('study-browser-thumbnail-no-image').filter({ hasText: modality }).dblclick();
  }

  /** A part of the page, by the name that the viewer's own tests have for it. */
  part(name: string): Locator {
    return this.page.locator(`[data-cy="${name}"]`);
  }

  /** The pixels of the image as they are on the screen, and a picture of the page in `out/viewer/NAME.png`. */
  async look(name: string, rows: number, columns: number): Promise<PixelAt> {
    const path = join(root, 'out/viewer', `${name}.png`);
    mkdirSync(dirname(path), { recursive: true });
    const shot = await this.page.screenshot({ path });
    const { data, info } = await sharp(shot).removeAlpha().raw().toBuffer({ resolveWithObject: true });
    // The viewer fits the image into its canvas, in the middle.
    const canvas = (await this.page.locator('canvas.cornerstone-canvas').first().boundingBox())!;
    const scale = Math.min(canvas.width / columns, canvas.height / rows);
    const left = canvas.x + (canvas.width - columns * scale) / 2;
    const top = canvas.y + (canvas.height - rows * scale) / 2;
    return (column, row) => {
      const at = Math.round(top + row * scale) * info.width + Math.round(left + column * scale);
      return [data[3 * at]!, data[3 * at + 1]!, data[3 * at + 2]!];
    };
  }

  async close(): Promise<void> {
    await this.browser.close();
  }
}
