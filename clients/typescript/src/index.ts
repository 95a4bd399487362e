/** @salad-serve/client streams radiographs to salad-serve and reads their scores. */
export type { Calibration, Model, Quantile } from '../../../src/gen/salad/v1/model_registry.js';
export {
  type AcquisitionAccepted,
  type AcquisitionAggregate,
  type AcquisitionHeader,
  type AffineTransform,
  type AnomalyMap,
  AnomalyMapFormat,
  type ColourStop,
  type Coverage,
  Decision,
  type DicomInstance,
  EarlyEnd,
  type Geometry,
  type ImageFormat,
  type ModalityLut,
  type ModelIdentity,
  type ModelSelector,
  type NearestPrototype,
  type PatchScore,
  PhotometricInterpretation,
  type PixelPadding,
  type PixelRows,
  type PixelTile,
  type Placement,
  Priority,
  type ScoringOptions,
  Source,
  type SourceBox,
  type SourcePoint,
  type TilePosition,
  type Timings,
  type TopPatch,
  type VoiAuto,
  VoiFunction,
  type VoiLut,
  type VoiTransform,
  type VoiWindow,
  type Warning,
  WarningKind,
} from '../../../src/gen/salad/v1/types.js';
export type { CallOptions } from './call-options.js';
export {
  type ImageData,
  SaladClient,
  type SaladClientOptions,
  type ScoreOptions,
} from './client.js';
export type { IdentityOptions, TlsOptions } from './credentials.js';
export { SaladClientError, type StatusName } from './errors.js';
export { coreShape, displayTiles, placementOf } from './geometry.js';
export type { AcquisitionHeaderInput, ImageFormatInput, ScoringOptionsInput } from './header.js';
export type { HealthState } from './health.js';
export type { KeepaliveOptions } from './keepalive.js';
export type { ModelVersion } from './registry-calls.js';
export type { RetryNotice, RetryOptions } from './retry.js';
export type { PixelChunk, PixelSource } from './source.js';
export type { AcquisitionEvent } from './streaming.js';
