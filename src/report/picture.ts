/** Shows radiographs on a page, with colours and outlines over them; all in pixels of the source image. */
import { type BarStop, colourBar } from './colour-bar.js';
import { escapeHtml } from './page.js';

export interface SourcePoint {
  readonly x: number;
  readonly y: number;
}

/** What an outline marks: the highest patch, another high patch, a box of the data set, the area that counts. */
export type OutlineKind = 'top' | 'other' | 'truth' | 'area';

export interface Outline {
  readonly kind: OutlineKind;
  /** Corners in order. */
  readonly points: readonly SourcePoint[];
  /** Tooltip. */
  readonly title: string;
}

export interface Picture {
  /** Unique in the page: letters, digits and hyphens. */
  readonly key: string;
  /** Description of the picture for screen readers. */
  readonly alt: string;
  /** Rows and columns of the source image. */
  readonly rows: number;
  readonly columns: number;
  /** JPEG file of the grey image; undefined where there is none. */
  readonly grey: Uint8Array | undefined;
  /** PNG file of the colours over it; undefined where there are none. */
  readonly colours: Uint8Array | undefined;
  readonly outlines: readonly Outline[];
}

const SWATCHES: readonly (readonly [OutlineKind, string])[] = [
  ['top', 'highest patch'],
  ['other', 'other high patches'],
  ['truth', 'boxes of the data set'],
  ['area', 'area that counts'],
];
const HIDDEN_AT_FIRST: readonly OutlineKind[] = ['other'];

function dataUrl(type: string, bytes: Uint8Array): string {
  const { buffer, byteOffset, byteLength } = bytes;
  return `data:${type};base64,${Buffer.from(buffer, byteOffset, byteLength).toString('base64')}`;
}

function layer({ rows, columns }: Picture, href: string, attributes: string): string {
  return `<image ${attributes} href="${href}" width="${columns}" height="${rows}" preserveAspectRatio="none"/>`;
}

function outline({ kind, points, title }: Outline): string {
  const corners = points.map(({ x, y }) => `${x.toFixed(1)},${y.toFixed(1)}`).join(' ');
  return (
    `<polygon class="outline casing ${kind}" points="${corners}"/>` +
    `<polygon class="outline ${kind}" points="${corners}"><title>${escapeHtml(title)}</title></polygon>`
  );
}

function frame({ rows, columns }: Pick<Picture, 'rows' | 'columns'>, alt: string, body: string): string {
  const label = alt === '' ? 'aria-hidden="true"' : `role="img" aria-label="${escapeHtml(alt)}"`;
  return `<svg class="picture" viewBox="0 0 ${columns} ${rows}" ${label}>${body}</svg>`;
}

/** The image as it was sent. `mappedPicture` shows the same element again. */
function plainPicture(picture: Picture): string {
  const { key, grey, alt } = picture;
  const body = grey === undefined ? '' : layer(picture, dataUrl('image/jpeg', grey), `id="${key}-grey"`);
  return frame(picture, `${alt}, as sent`, body);
}

/** The image under its map and outlines. `thumbnail` shows the same element again. */
function mappedPicture(picture: Picture): string {
  const { key, grey, colours, outlines, alt } = picture;
  const body = [
    `<g id="${key}-mapped">`,
    grey === undefined ? '' : `<use href="#${key}-grey"/>`,
    colours === undefined ? '' : layer(picture, dataUrl('image/png', colours), 'class="colours"'),
    ...outlines.map(outline),
    '</g>',
  ];
  return frame(picture, `${alt}, with anomaly map`, body.join(''));
}

/** The image as it was sent beside the same image under its map, with the colour bar. */
export function picturePair(picture: Picture, scale: readonly BarStop[]): string {
  const caption = `As sent, ${picture.columns} × ${picture.rows} pixels; left and right are not swapped.`;
  const bar = scale.length > 1 ? colourBar(picture.key, scale) : '';
  return `<div class="pair">
<figure>${plainPicture(picture)}<figcaption>${caption}</figcaption></figure>
<figure>${mappedPicture(picture)}${bar}</figure></div>`;
}

/** The mapped picture again, small, with a link to the large one. */
export function thumbnail(picture: Picture): string {
  const drawn = frame(picture, '', `<use href="#${picture.key}-mapped"/>`);
  return `<a href="#${picture.key}" aria-label="${escapeHtml(picture.alt)}">${drawn}</a>`;
}

function swatch(kind: OutlineKind): string {
  return (
    '<svg viewBox="0 0 26 14" aria-hidden="true">' +
    `<rect class="outline ${kind}" visibility="visible" x="3" y="2" width="20" height="10"/></svg>`
  );
}

/** Controls for all maps of the page. @param pictures their kinds of outlines get a checkbox each */
export function mapToolbar(pictures: readonly Pick<Picture, 'outlines'>[]): string {
  const kinds = new Set(pictures.flatMap(({ outlines }) => outlines.map(({ kind }) => kind)));
  const boxes = SWATCHES.filter(([kind]) => kinds.has(kind)).map(([kind, name]) => {
    const checked = HIDDEN_AT_FIRST.includes(kind) ? '' : ' checked';
    return `<label><input type="checkbox" data-shows="${kind}"${checked}>${swatch(kind)}${name}</label>`;
  });
  return (
    '<div class="toolbar" role="group" aria-label="Anomaly maps">' +
    '<label>map opacity <input type="range" min="0" max="100" step="5" value="100" data-opacity><output></output></label>' +
    `${boxes.join('')}</div>`
  );
}
