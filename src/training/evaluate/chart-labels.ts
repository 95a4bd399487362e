/** Places labels of points in a chart so that none covers another label or a point. All lengths are pixels. */

export interface LabelledPoint {
  readonly x: number;
  readonly y: number;
  readonly label: string;
}

export interface PlacedLabel extends LabelledPoint {
  /** Of the baseline, where `anchor` says. */
  readonly labelX: number;
  readonly labelY: number;
  readonly anchor: 'start' | 'end';
}

export interface ChartArea {
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

/** Of one character of the chart's font (11 px), at most. */
const CHARACTER_WIDTH = 7;
const LINE_HEIGHT = 13;
/** Half the side of the box of a point's circle. */
const POINT_RADIUS = 6;
const GAP = 10;

/** Box that a label covers. */
export function labelBox({ labelX, labelY, anchor, label }: PlacedLabel): ChartArea {
  const width = label.length * CHARACTER_WIDTH;
  const left = anchor === 'start' ? labelX : labelX - width;
  return { left, right: left + width, top: labelY - LINE_HEIGHT + 3, bottom: labelY + 3 };
}

function overlaps(a: ChartArea, b: ChartArea): boolean {
  return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}

function pointBox({ x, y }: LabelledPoint): ChartArea {
  const [left, top] = [x - POINT_RADIUS, y - POINT_RADIUS];
  return { left, right: left + 2 * POINT_RADIUS, top, bottom: top + 2 * POINT_RADIUS };
}

/**
 * Labels stand below their points, to the right; to the left at the right end of the area, and above at its lower end.
 * One that would cover a point or another label moves on line by line.
 * @returns in the order of the points
 */
export function placeLabels(points: readonly LabelledPoint[], area: ChartArea): readonly PlacedLabel[] {
  const taken = points.map(pointBox);
  const placed = new Map<LabelledPoint, PlacedLabel>();
  // From the right, so that the lines from the points to their labels do not cross.
  for (const point of [...points].sort((a, b) => b.x - a.x)) {
    const isRight = point.x + GAP + point.label.length * CHARACTER_WIDTH > area.right;
    const isLow = point.y + GAP + LINE_HEIGHT * points.length > area.bottom;
    const anchor = isRight ? 'end' : 'start';
    const labelX = point.x + (isRight ? -GAP : GAP);
    const step = isLow ? -LINE_HEIGHT : LINE_HEIGHT;
    let label: PlacedLabel = { ...point, labelX, labelY: point.y + (isLow ? -4 : LINE_HEIGHT + 2), anchor };
    while (taken.some((box) => overlaps(box, labelBox(label)))) {
      label = { ...label, labelY: label.labelY + step };
    }
    taken.push(labelBox(label));
    placed.set(point, label);
  }
  return points.map((point) => placed.get(point)!);
}
