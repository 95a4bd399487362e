/** Metadata and configuration of the models, as clients read them. */
import {
  type ModelConfigResponse,
  ModelMetadataResponse,
  type ModelMetadataResponse_TensorMetadata,
} from '../gen/inference/grpc_service.js';
import { DataType, ModelInput_Format } from '../gen/inference/model_config.js';
import {
  type Datatype,
  inputsOf,
  LABELS,
  type ModelSource,
  type ModelView,
  maxBatchSize,
  outputsOf,
  SCORE,
  type TensorSpec,
} from './views.js';

export const PLATFORM = 'salad';

/** Extensions of Triton that are offered. */
export const EXTENSIONS = [
  'classification',
  'model_configuration',
  'model_repository',
  'statistics',
] as const;

const DATA_TYPES: Readonly<Record<Datatype, DataType>> = {
  UINT8: DataType.TYPE_UINT8,
  UINT16: DataType.TYPE_UINT16,
  INT16: DataType.TYPE_INT16,
  INT32: DataType.TYPE_INT32,
  FP32: DataType.TYPE_FP32,
  FP64: DataType.TYPE_FP64,
  BYTES: DataType.TYPE_STRING,
};

export function metadataOf(view: ModelView, models: ModelSource): ModelMetadataResponse {
  const { model, name } = view;
  const { geometry, manifest } = model;
  const versions = models.list().filter((each) => each.name === model.name);
  const properties = {
    bundle_sha256: model.sha256,
    engine: model.engine,
    description: manifest.description,
    working_size: String(geometry.workingSize),
    patch_grid: String(geometry.patchGrid),
    tile_grid: `${geometry.tileRows},${geometry.tileColumns}`,
    max_batch_size: String(maxBatchSize(view.view)),
    ...(view.view === 'classify' ? { labels: LABELS.join(',') } : {}),
  };
  return ModelMetadataResponse.fromPartial({
    name,
    versions: versions.map(({ version }) => String(version)),
    platform: PLATFORM,
    inputs: inputsOf(view).map(tensorMetadata),
    outputs: outputsOf(view).map(tensorMetadata),
    properties,
  });
}

function tensorMetadata({ name, datatype, dims }: TensorSpec): ModelMetadataResponse_TensorMetadata {
  return { name, datatype, shape: [-1, ...dims].map(BigInt) };
}

export function configOf(view: ModelView): ModelConfigResponse {
  return {
    config: {
      name: view.name,
      platform: PLATFORM,
      backend: PLATFORM,
      maxBatchSize: maxBatchSize(view.view),
      input: inputsOf(view).map(({ name, datatype, dims }) => ({
        name,
        dataType: DATA_TYPES[datatype],
        format: dims.length === 3 ? ModelInput_Format.FORMAT_NHWC : ModelInput_Format.FORMAT_NONE,
        dims: dims.map(BigInt),
      })),
      output: outputsOf(view).map(({ name, datatype, dims }) => ({
        name,
        dataType: DATA_TYPES[datatype],
        dims: dims.map(BigInt),
        labelFilename: name === SCORE ? 'labels.txt' : '',
      })),
    },
  };
}
