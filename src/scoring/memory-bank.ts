/** The memory bank: unit prototypes of normal patches, where in the grid they were seen, and in which image. */
export interface MemoryBank {
  readonly rows: number;
  readonly dimension: number;
  /** float32 [rows, dimension], unit length. */
  readonly prototypes: Float32Array;
  /** int32 [rows, 2]: patch row, patch column in the grid. */
  readonly positions: Int32Array;
  /** int32 [rows]: index into the manifest's training.sourceImages. */
  readonly sources: Int32Array;
}
