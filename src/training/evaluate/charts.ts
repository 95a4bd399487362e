/** Draws the inline SVG charts of the evaluation report, in colours for light and dark pages. */
import { escapeHtml } from '../../report/page.js';
import { type PlacedLabel, placeLabels } from './chart-labels.js';
import type { RocPoint } from './metrics.js';

const COLOURS = ['#2f7ed8', '#d9582b', '#2a9d5c', '#9b59b6', '#c0a020', '#50a0b0'];
const SIZE = 300;
const MARGIN = 44;
/** Height of the lines between title and plot, for the names of groups and marks: there no bar lies behind them. */
const BAND = 48;
const LINE_HEIGHT = 14;

export function colourOf(index: number): string {
  return COLOURS[index % COLOURS.length]!;
}

const x = (fraction: number): string => (MARGIN + fraction * (SIZE - 2 * MARGIN + 24)).toFixed(1);
const y = (fraction: number): string =>
  (BAND + SIZE - MARGIN - fraction * (SIZE - 2 * MARGIN + 24)).toFixed(1);

function text(atX: string, atY: string, content: string, anchor = 'middle'): string {
  return `<text x="${atX}" y="${atY}" text-anchor="${anchor}" font-size="11" fill="currentColor">${escapeHtml(content)}</text>`;
}

function frame(title: string, xLabel: string, yLabel: string, body: string): string {
  const vertical = `<text transform="translate(12 ${BAND + SIZE / 2}) rotate(-90)" text-anchor="middle" font-size="11" fill="currentColor">${escapeHtml(yLabel)}</text>`;
  return `<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="${escapeHtml(title)}" width="${SIZE}" height="${SIZE + BAND}" viewBox="0 0 ${SIZE} ${SIZE + BAND}" font-family="system-ui, sans-serif" color="#888">
<path d="M${x(0)} ${y(1)}V${y(0)}H${x(1)}" fill="none" stroke="currentColor"/>
${text(String(SIZE / 2), '14', title)}${text(String(SIZE / 2), String(BAND + SIZE - 8), xLabel)}${vertical}
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

function operatingPoint({ x: atX, y: atY, label, labelX, labelY, anchor }: PlacedLabel): string {
  const leader = `M${atX.toFixed(1)} ${atY.toFixed(1)}L${labelX.toFixed(1)} ${(labelY - 4).toFixed(1)}`;
  return (
    `<path d="${leader}" stroke="currentColor" opacity="0.6"/>` +
    `<circle cx="${atX.toFixed(1)}" cy="${atY.toFixed(1)}" r="4" fill="none" stroke="currentColor" stroke-width="2"/>` +
    text((labelX + (anchor === 'start' ? 2 : -2)).toFixed(1), labelY.toFixed(1), label, anchor)
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
  const area = { left: Number(x(0)), right: Number(x(1)), top: Number(y(1)), bottom: Number(y(0)) };
  const circles = operatingPoints.map(({ falsePositiveRate, truePositiveRate, label }) => ({
    ...{ x: Number(x(falsePositiveRate)), y: Number(y(truePositiveRate)), label },
  }));
  const curve = `<path d="${path}" fill="none" stroke="${colour}" stroke-width="2"/>`;
  return frame(
    title,
    'false-positive rate',
    'sensitivity',
    diagonal + curve + unitTicks() + placeLabels(circles, area).map(operatingPoint).join(''),
  );
}

/** Widest label beside a mark, as a share of the plot. */
const MARK_LABEL_SHARE = 0.16;

/**
 * Vertical lines up to labels above the plot, one line of text each. A line ends at its label, and the labels all lie on
 * the same side, so that no line crosses a label.
 */
function markLines(marks: readonly { readonly fraction: number; readonly label: string }[]): string {
  const isRight = marks.some(({ fraction }) => fraction > 1 - MARK_LABEL_SHARE);
  const ordered = [...marks].sort((a, b) => (isRight ? b.fraction - a.fraction : a.fraction - b.fraction));
  return ordered
    .map(({ fraction, label }, index) => {
      const labelY = Number(y(1)) - 4 - LINE_HEIGHT * (ordered.length - 1 - index);
      const labelX = (Number(x(fraction)) + (isRight ? -4 : 4)).toFixed(1);
      return (
        `<path d="M${x(fraction)} ${y(0)}V${(labelY - 8).toFixed(1)}" stroke="currentColor" stroke-dasharray="4 3"/>` +
        text(labelX, labelY.toFixed(1), label, isRight ? 'end' : 'start')
      );
    })
    .join('');
}

export interface HistogramGroup {
  readonly label: string;
  readonly scores: readonly number[];
  readonly colour: string;
}

/**
 * Draws overlaid step histograms on one axis, each as fractions of its group.
 * @param groups one or two
 * @param marks vertical lines with short labels, two at most
 */
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
    const [legendX, anchor] = index === 0 ? [x(0), 'start'] : [x(1), 'end'];
    const legend = text(legendX, '30', groups[index]!.label, anchor).replace(
      'fill="currentColor"',
      `fill="${colour}"`,
    );
    return `<path d="M${x(0)} ${y(0)}${steps}L${x(1)} ${y(0)}" fill="${colour}" fill-opacity="0.25" stroke="${colour}"/>${legend}`;
  });
  const lines = markLines(
    marks
      .filter((mark) => mark.at >= low && mark.at <= low + width)
      .map(({ at, label }) => ({ fraction: (at - low) / width, label })),
  );
  const ticks = [0, 0.5, 1]
    .map((fraction) => text(x(fraction), (Number(y(0)) + 14).toFixed(1), (low + fraction * width).toFixed(1)))
    .join('');
  const xLabel = lines === '' ? 'image score' : 'image score (dashed: thresholds)';
  return frame(title, xLabel, 'fraction of the class', shapes.join('') + lines + ticks);
}
