/** Draws the colour scale of an anomaly map with its values. */

/** A colour of a scale, as in AnomalyMap.scale. */
export interface BarStop {
  readonly robustZ: number;
  readonly pValue: number;
  readonly red: number;
  readonly green: number;
  readonly blue: number;
  readonly opacity: number;
}

const WIDTH = 420;
const BAR = { left: 14, right: 406, top: 18, height: 12 } as const;
/** Number of labelled values of the bar. */
const TICKS = 4;

function text(x: number, y: number, content: string, anchor = 'middle'): string {
  return `<text x="${x.toFixed(1)}" y="${y}" text-anchor="${anchor}" font-size="11" fill="currentColor">${content}</text>`;
}

/** Formats a share in per cent, with at most two digits, and never as 0. */
export function shownShare(share: number): string {
  return `${Number((100 * share).toPrecision(2))} %`;
}

/** Draws `TICKS` evenly spaced labels. */
function ticks(stops: readonly BarStop[]): string {
  const shown = Array.from({ length: TICKS }, (_, tick) => {
    const at = Math.round((tick * (stops.length - 1)) / (TICKS - 1));
    return [at / (stops.length - 1), stops[at]!] as const;
  });
  return shown
    .map(([share, { robustZ, pValue }], index) => {
      const x = BAR.left + share * (BAR.right - BAR.left);
      const anchor = index === 0 ? 'start' : index === TICKS - 1 ? 'end' : 'middle';
      const labelX = index === 0 ? 0 : index === TICKS - 1 ? WIDTH : x;
      return (
        `<path d="M${x.toFixed(1)} ${BAR.top + BAR.height}v4" stroke="currentColor"/>` +
        text(labelX, BAR.top + BAR.height + 16, `z ${robustZ.toFixed(1)}`, anchor) +
        text(labelX, BAR.top + BAR.height + 30, shownShare(pValue), anchor)
      );
    })
    .join('');
}

/**
 * Draws the scale of one image: its colours over a middle grey, robust z, and the share of patches of normal images that
 * reach each robust z.
 * @param key unique in the page: letters, digits and hyphens
 * @param stops ascending, evenly spaced, the first at the threshold
 */
export function colourBar(key: string, stops: readonly BarStop[]): string {
  const gradient = stops.map(
    ({ red, green, blue, opacity }, index) =>
      `<stop offset="${(index / (stops.length - 1)).toFixed(4)}" stop-color="rgb(${red},${green},${blue})" stop-opacity="${opacity.toFixed(3)}"/>`,
  );
  const area = `x="${BAR.left}" y="${BAR.top}" width="${BAR.right - BAR.left}" height="${BAR.height}"`;
  return (
    `<svg class="bar" viewBox="0 0 ${WIDTH} 64" role="img" aria-label="Colours from robust z ${stops[0]!.robustZ.toFixed(1)}, the threshold, to ${stops.at(-1)!.robustZ.toFixed(1)}" font-family="system-ui, 'DejaVu Sans', sans-serif">` +
    `<linearGradient id="${key}-colours">${gradient.join('')}</linearGradient>` +
    `<path d="M${BAR.left} ${BAR.top - 3}v${BAR.height + 6}" stroke="#00a6c4" stroke-width="3"/>` +
    text(0, 11, 'threshold', 'start') +
    text(WIDTH, 11, 'robust z, and share of normal patches that reach it', 'end') +
    `<rect ${area} fill="#6a6a6a"/><rect ${area} fill="url(#${key}-colours)"/>${ticks(stops)}</svg>`
  );
}
