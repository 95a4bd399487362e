/** Draws the inline SVG charts of the evaluation report, in colours for light and dark pages. */
import { escapeHtml } from '../../report/page.js';
import type { RocPoint } from './metrics.js';

const COLOURS = ['#2f7ed8', '#d9582b', '#2a9d5c', '#9b59b6', '#c0a020', '#50a0b0'];
const SIZE = 300;
const MARGIN = 44;

export function colourOf(index: number): string {
  return COLOURS[index % COLOURS.length]!;
}

const x = (fraction: number): string => (MARGIN + fraction * (SIZE - 2 * MARGIN + 24)).toFixed(1);
const y = (fraction: number): string => (SIZE - MARGIN - fraction * (SIZE - 2 * MARGIN + 24)).toFixed(1);

function text(atX: string, atY: string, content: string, anchor = 'middle'): string {
  return `<text x="${atX}" y="${atY}" text-anchor="${anchor}" font-size="11" fill="currentColor">${escapeHtml(content)}</text>`;
}

function frame(title: string, xLabel: string, yLabel: string, body: string): string {
  const vertical = `<text transform="translate(12 ${SIZE / 2}) rotate(-90)" text-anchor="middle" font-size="11" fill="currentColor">${escapeHtml(yLabel)}</text>`;
  return `<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="${escapeHtml(title)}" width="${SIZE}" height="${SIZE}" viewBox="0 0 ${SIZE} ${SIZE}" font-family="system-ui, sans-serif" color="#888">
<path d="M${x(0)} ${y(1)}V${y(0)}H${x(1)}" fill="none" stroke="currentColor"/>
${text(String(SIZE / 2), '14', title)}${text(String(SIZE / 2), String(SIZE - 8), xLabel)}${vertical}
${body}</svg>`;
}

function unitTicks(): string {
  return [0, 0.5, 1]
    .map(
      (value) =>
        text(x(value), (Number(y(0)) + 14).toFixed(1), String(value)) +
        text((Number(x(0)) - 4).toFixed(1), (Number(y(value)) + 4).toFixed(1), String(value), 'end'),
    )
    .join('');
}

/** What a threshold does on the evaluated images. */
export interface OperatingPoint extends Omit<RocPoint, 'threshold'> {
  readonly label: string;
}

/** Vertical offsets of labels beside points, so that the labels of two close points do not cover each other. */
const LABEL_OFFSETS = [16, 6] as const;

function operatingPoint(
  { falsePositiveRate, truePositiveRate, label }: OperatingPoint,
  index: number,
): string {
  const [atX, atY] = [x(falsePositiveRate), y(truePositiveRate)];
  const isRight = falsePositiveRate > 0.5;
  const labelX = (Number(atX) + (isRight ? -7 : 7)).toFixed(1);
  const labelY = (Number(atY) + LABEL_OFFSETS[index % LABEL_OFFSETS.length]!).toFixed(1);
  return (
    `<circle cx="${atX}" cy="${atY}" r="4" fill="none" stroke="currentColor" stroke-width="2"/>` +
    text(labelX, labelY, label, isRight ? 'end' : 'start')
  );
}

/** Draws a ROC curve with the diagonal of a random classifier, and circles where thresholds lie. */
export function rocChart(
  title: string,
  points: readonly RocPoint[],
  colour: string,
  operatingPoints: readonly OperatingPoint[] = [],
): string {
  const path = points
    .map(
      (point, index) =>
        `${index === 0 ? 'M' : 'L'}${x(point.falsePositiveRate)} ${y(point.truePositiveRate)}`,
    )
    .join('');
  const diagonal = `<path d="M${x(0)} ${y(0)}L${x(1)} ${y(1)}" stroke="currentColor" stroke-dasharray="3 4" opacity="0.6"/>`;
  const curve = `<path d="${path}" fill="none" stroke="${colour}" stroke-width="2"/>`;
  return frame(
    title,
    'false-positive rate',
    'sensitivity',
    diagonal + curve + unitTicks() + operatingPoints.map(operatingPoint).join(''),
  );
}

function thresholdLine(fraction: number, label: string, labelY: number): string {
  const isRight = fraction > 0.5;
  const labelX = (Number(x(fraction)) + (isRight ? -4 : 4)).toFixed(1);
  return (
    `<path d="M${x(fraction)} ${y(0)}V${y(1)}" stroke="currentColor" stroke-dasharray="4 3"/>` +
    text(labelX, String(labelY), label, isRight ? 'end' : 'start')
  );
}

export interface HistogramGroup {
  readonly label: string;
  readonly scores: readonly number[];
  readonly colour: string;
}

/** Draws overlaid step histograms on one axis, each as fractions of its group. @param marks vertical lines */
export function histogramChart(
  title: string,
  groups: readonly HistogramGroup[],
  marks: readonly { readonly at: number; readonly label: string }[],
  bins = 30,
): string {
  const all = groups.flatMap((group) => group.scores);
  const low = Math.min(...all);
  const width = Math.max(...all) - low || 1;
  const counts = groups.map((group) => {
    const heights = new Array<number>(bins).fill(0);
    for (const score of group.scores) {
      heights[Math.min(bins - 1, Math.floor(((score - low) / width) * bins))]! += 1 / group.scores.length;
    }
    return heights;
  });
  const top = Math.max(...counts.flat());
  const shapes = counts.map((heights, index) => {
    const steps = heights
      .map((height, bin) => `L${x(bin / bins)} ${y(height / top)}L${x((bin + 1) / bins)} ${y(height / top)}`)
      .join('');
    const colour = groups[index]!.colour;
    const legend = text(x(1), String(30 + 14 * index), groups[index]!.label, 'end').replace(
      'fill="currentColor"',
      `fill="${colour}"`,
    );
    return `<path d="M${x(0)} ${y(0)}${steps}L${x(1)} ${y(0)}" fill="${colour}" fill-opacity="0.25" stroke="${colour}"/>${legend}`;
  });
  const lines = marks
    .filter((mark) => mark.at >= low && mark.at <= low + width)
    .map((mark, index) =>
      thresholdLine((mark.at - low) / width, mark.label, 34 + 14 * (groups.length + index)),
    );
  const ticks = [0, 0.5, 1]
    .map((fraction) => text(x(fraction), (Number(y(0)) + 14).toFixed(1), (low + fraction * width).toFixed(1)))
    .join('');
  return frame(title, 'image score', 'fraction of the class', shapes.join('') + lines.join('') + ticks);
}
