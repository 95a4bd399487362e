/** The one schema of the server's configuration: key, variable, default, unit, bounds, sentence. */
import { ENGINE_NAMES, ONNX_PROVIDERS, REQUESTED_PRECISIONS } from '../engines/engine.js';
import { SEARCH_LIMITS } from '../scoring/search-plan.js';
import { CONNECTION_FIELDS } from './connections.js';
import { address, type ConfigField, choice, optionalAddress, optionalText, path, whole } from './field.js';
import { SECURITY_FIELDS } from './security.js';

const MIB = 1024 * 1024;

export const CONFIG_FIELDS = {
  listen: address({
    env: 'SALAD_LISTEN',
    default: '127.0.0.1:50051',
    description: 'Address to listen on as HOST:PORT; port 0 takes a free one.',
  }),
  models: path({
    env: 'SALAD_MODELS',
    default: 'models',
    description: 'Folder of model bundles, laid out as <name>/<version>/.',
  }),
  engine: choice(['auto', ...ENGINE_NAMES], {
    env: 'SALAD_ENGINE',
    default: 'auto',
    description:
      'Engine to serve with; auto tries them in the fallback order and takes the first that passes its golden checks.',
  }),
  precision: choice(REQUESTED_PRECISIONS, {
    env: 'SALAD_PRECISION',
    default: 'float32',
    description:
      'float32; or bfloat16 on the openvino engine, where the processor has it: faster, close scores. All else stays float32, which the log, salad doctor and every aggregate say. int8 was removed: it is refused.',
  }),
  workers: whole({
    env: 'SALAD_WORKERS',
    default: 0,
    unit: 'threads',
    min: 0,
    max: 256,
    description: 'Engine worker threads; 0 means one per core this process may use.',
  }),
  sessionThreads: whole({
    env: 'SALAD_SESSION_THREADS',
    default: 1,
    unit: 'threads',
    min: 0,
    max: 256,
    description:
      'Threads of each session of the openvino and onnx engines, with a worker for that many cores: a lone tile is scored sooner, many tiles later. 0 is taken as 1.',
  }),
  onnxProvider: choice(ONNX_PROVIDERS, {
    env: 'SALAD_ONNX_PROVIDER',
    default: 'cpu',
    description:
      'What the onnx engine runs on: cpu, or a device through one of the other execution providers, where this onnxruntime has it and --engine onnx chooses it. Only cpu and webgpu (on a software adapter) were ever tried.',
  }),
  openvinoFolder: optionalText({
    allowed: 'a path or empty',
    env: 'SALAD_OPENVINO_FOLDER',
    default: '',
    description:
      "Folder of OpenVINO's libraries (openvino/libs of the Python package); empty means what npm run engines:openvino fetched, .cache/openvino.",
  }),
  maxBatchSize: whole({
    env: 'SALAD_MAX_BATCH_SIZE',
    default: 0,
    unit: 'tiles',
    min: 0,
    max: 1024,
    description: 'Most tiles in one engine batch; 0 means what warm-up measures to be best.',
  }),
  engineWatchdogMs: whole({
    env: 'SALAD_ENGINE_WATCHDOG_MS',
    default: 5000,
    unit: 'ms',
    min: 100,
    max: 3_600_000,
    description:
      'An engine that gives no answer to a batch for this long, and 20 times what the batch should take, counts as hung and is replaced.',
  }),
  engineBackOffMs: whole({
    env: 'SALAD_ENGINE_BACK_OFF_MS',
    default: 30_000,
    unit: 'ms',
    min: 10,
    max: 86_400_000,
    description:
      'Wait before a lost engine is tried again beside the one that took over; doubled with every failure in a row.',
  }),
  engineBackOffMaxMs: whole({
    env: 'SALAD_ENGINE_BACK_OFF_MAX_MS',
    default: 600_000,
    unit: 'ms',
    min: 10,
    max: 86_400_000,
    description: 'Longest wait before a lost engine is tried again.',
  }),
  engineStandbyDelayMs: whole({
    env: 'SALAD_ENGINE_STANDBY_DELAY_MS',
    default: 10_000,
    unit: 'ms',
    min: 0,
    max: 86_400_000,
    description:
      'Wait after the start before the next engine is made ready to take over at once; 0 means never: a fail-over then takes seconds, and the memory of a second engine is saved.',
  }),
  exactSearchRowsMax: whole({
    env: 'SALAD_EXACT_SEARCH_ROWS_MAX',
    default: SEARCH_LIMITS.exactRowsMax,
    unit: 'prototypes',
    min: 1,
    max: 2 ** 31 - 1,
    description:
      'Prototypes a patch is compared with up to which the search is exact; beyond, an index with a recall of at least 0.99.',
  }),
  searchIndexFolder: optionalText({
    allowed: 'a path or empty',
    env: 'SALAD_SEARCH_INDEX_FOLDER',
    default: '',
    description:
      'Where the indexes of large memory banks are kept; empty means .cache/salad-serve/search in the home folder.',
  }),
  maxMessageBytes: whole({
    env: 'SALAD_MAX_MESSAGE_BYTES',
    default: 64 * MIB,
    unit: 'bytes',
    min: 64 * 1024,
    max: 2 ** 31 - 1,
    description: 'Largest request message; a whole image sent to ScoreImage must fit.',
  }),
  maxImagePixels: whole({
    env: 'SALAD_MAX_IMAGE_PIXELS',
    default: 64 * 1024 * 1024,
    unit: 'pixels',
    min: 1,
    max: 2 ** 30,
    description: 'Most pixels (rows times columns) of a source image.',
  }),
  maxConcurrentAcquisitions: whole({
    env: 'SALAD_MAX_CONCURRENT_ACQUISITIONS',
    default: 1024,
    unit: 'acquisitions',
    min: 1,
    max: 1_000_000,
    description:
      'Most acquisitions open at once; the next is refused with RESOURCE_EXHAUSTED and a retry delay.',
  }),
  maxQueueMs: whole({
    env: 'SALAD_MAX_QUEUE_MS',
    default: 5000,
    unit: 'ms',
    min: 1,
    max: 86_400_000,
    description:
      'A new acquisition whose tiles would wait longer than this behind the tiles before them, and longer than maxQueueRatio allows, is refused; urgent ones wait only for urgent ones.',
  }),
  maxQueueRatio: whole({
    env: 'SALAD_MAX_QUEUE_RATIO',
    default: 8,
    unit: 'ratio',
    min: 0,
    max: 1_000_000,
    description:
      'Tiles may wait this many times what all tiles of their acquisition take the engines; 0 leaves only maxQueueMs.',
  }),
  statSharePercent: whole({
    env: 'SALAD_STAT_SHARE_PERCENT',
    default: 75,
    unit: '%',
    min: 1,
    max: 100,
    description:
      'Engine time that urgent (STAT) acquisitions get at most while others wait; a few at a time do not wait for it. 100 means no limit.',
  }),
  maxAcquisitionBytes: whole({
    env: 'SALAD_MAX_ACQUISITION_BYTES',
    default: 1024 * MIB,
    unit: 'bytes',
    min: MIB,
    max: 2 ** 40,
    description:
      'Most memory that open acquisitions (working images, results, images being decoded) may reserve together; streams, and images being decoded, have three quarters of it each at most.',
  }),
  maxPendingBytes: whole({
    env: 'SALAD_MAX_PENDING_BYTES',
    default: 4 * MIB,
    unit: 'bytes',
    min: 1,
    max: 2 ** 31 - 1,
    description: 'Request bytes of one stream that may wait to be read before the stream is paused.',
  }),
  idleTimeoutMs: whole({
    env: 'SALAD_IDLE_TIMEOUT_MS',
    default: 30_000,
    unit: 'ms',
    min: 10,
    max: 86_400_000,
    description:
      'An acquisition whose client sends nothing before its end, or reads nothing, for this long is failed.',
  }),
  retryDelayMs: whole({
    env: 'SALAD_RETRY_DELAY_MS',
    default: 500,
    unit: 'ms',
    min: 1,
    max: 600_000,
    description: 'Delay that a refused client is told to wait before it tries again.',
  }),
  drainGraceMs: whole({
    env: 'SALAD_DRAIN_GRACE_MS',
    default: 20_000,
    unit: 'ms',
    min: 0,
    max: 86_400_000,
    description: 'How long running acquisitions may take to finish after a stop was asked for.',
  }),
  receiveWindowBytes: whole({
    env: 'SALAD_RECEIVE_WINDOW_BYTES',
    default: 4 * MIB,
    unit: 'bytes',
    min: 65_535,
    max: 2 ** 31 - 1,
    description:
      'HTTP/2 receive window of a stream and of a connection: at least bandwidth times round-trip time for full speed.',
  }),
  metricsListen: optionalAddress({
    env: 'SALAD_METRICS_LISTEN',
    default: '',
    description: 'Address for Prometheus to scrape at /metrics, as HOST:PORT; empty means none.',
  }),
  logLevel: choice(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'], {
    env: 'SALAD_LOG_LEVEL',
    default: 'info',
    description: 'Least severe level that is logged, on stderr as JSON lines.',
  }),
  ...CONNECTION_FIELDS,
  ...SECURITY_FIELDS,
} as const;

type Fields = typeof CONFIG_FIELDS;
export type ConfigKey = keyof Fields;

/** Checked, complete and frozen. */
export type ServeConfig = {
  readonly [K in ConfigKey]: Fields[K] extends ConfigField<infer T> ? T : never;
};
