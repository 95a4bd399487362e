/** Radiographs on a page, with colours and outlines over them; all in pixels of the source image. */
import { type BarStop, colourBar } from './colour-bar.js';
import { escapeHtml } from './page.js';

export interface SourcePoint {
  readonly x: number;
  readonly y: number;
}

/** What is drawn around a place: the highest patch, another high one, what a reader marked, the area that is judged. */
export type OutlineKind = 'top' | 'other' | 'truth' | 'area';

export interface Outline {
  readonly kind: OutlineKind;
  /** Corners in order. */
  readonly points: readonly SourcePoint[];
  /** Shown where the pointer rests. */
  readonly title: string;
}

export interface Picture {
  /** Unique in the page: letters, digits and hyphens. */
  readonly key: string;
  /** What the picture shows, for those who cannot see it. */
  readonly alt: string;
  /** Of the source image. */
  readonly rows: number;
  readonly columns: number;
  /** JPEG files of the image in grey and PNG of the colours over it; undefined where there is none. */
  readonly grey: Uint8Array | undefined;
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

/** The image as it was sent. `mappedPicture` refers to it. */
function plainPicture(picture: Picture): string {
  const { key, grey, alt } = picture;
  const body = grey === undefined ? '' : layer(picture, dataUrl('image/jpeg', grey), `id="${key}-grey"`);
  return frame(picture, `${alt}, as sent`, body);
}

/** The image under its map and outlines. `thumbnail` refers to it. */
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

/** The mapped picture once more, small; it leads to the large one. */
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

/** Controls of all maps of the page. @param pictures decide which outlines there are to switch */
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
