/**
 * Affine maps between image frames. Coordinates are continuous: pixel i covers [i, i + 1), its centre is i + 0.5; x runs
 * to the right along columns, y down along rows.
 */

/** x' = xx * x + xy * y + x0, y' = yx * x + yy * y + y0. */
export interface AffineTransform {
  readonly xx: number;
  readonly xy: number;
  readonly x0: number;
  readonly yx: number;
  readonly yy: number;
  readonly y0: number;
}

export interface Point {
  readonly x: number;
  readonly y: number;
}

/** Scales about the origin. */
export function scaling(x: number, y: number): AffineTransform {
  return { xx: x, xy: 0, x0: 0, yx: 0, yy: y, y0: 0 };
}

export function apply(map: AffineTransform, { x, y }: Point): Point {
  return { x: map.xx * x + map.xy * y + map.x0, y: map.yx * x + map.yy * y + map.y0 };
}

/** The map that applies `first`, then `second`. */
export function compose(second: AffineTransform, first: AffineTransform): AffineTransform {
  const origin = apply(second, { x: first.x0, y: first.y0 });
  return {
    xx: second.xx * first.xx + second.xy * first.yx,
    xy: second.xx * first.xy + second.xy * first.yy,
    x0: origin.x,
    yx: second.yx * first.xx + second.yy * first.yx,
    yy: second.yx * first.xy + second.yy * first.yy,
    y0: origin.y,
  };
}

/** The map back. @throws RangeError where the map flattens the plane */
export function invert({ xx, xy, x0, yx, yy, y0 }: AffineTransform): AffineTransform {
  const determinant = xx * yy - xy * yx;
  if (!(Math.abs(determinant) > 0)) throw new RangeError('the map has no inverse');
  const back = {
    xx: yy / determinant,
    xy: -xy / determinant,
    yx: -yx / determinant,
    yy: xx / determinant,
  };
  return { ...back, x0: -(back.xx * x0 + back.xy * y0), y0: -(back.yx * x0 + back.yy * y0) };
}
