/** Section "Engine". */
import { ENGINE_NAMES, ONNX_PROVIDERS, REQUESTED_PRECISIONS } from '../../engines/engine.js';
import { choice, optionalText, whole } from './field.js';
import type { SettingsOf } from './section.js';

export const ENGINE_FIELDS = {
  engine: choice(['auto', ...ENGINE_NAMES], {
    env: 'SALAD_ENGINE',
    default: 'auto',
    description:
      'Engine that scores; auto tries the engines in the fallback order and selects the first that passes its golden checks.',
  }),
  precision: choice(REQUESTED_PRECISIONS, {
    env: 'SALAD_PRECISION',
    default: 'float32',
    description:
      'float32; or bfloat16 on the openvino engine, if the processor supports it: faster, with close scores. Everything else stays float32, and the log, salad doctor and every aggregate say so. int8 is refused with the reason.',
  }),
  workers: whole({
    env: 'SALAD_WORKERS',
    default: 0,
    unit: 'threads',
    min: 0,
    max: 256,
    description: 'Engine worker threads; 0 means one per core that this process may use.',
  }),
  sessionThreads: whole({
    env: 'SALAD_SESSION_THREADS',
    default: 1,
    unit: 'threads',
    min: 0,
    max: 256,
    description:
      'Threads of each session of the openvino and onnx engines; there is one worker per that many cores. More threads score a single tile sooner and many tiles later. 0 means 1.',
  }),
  onnxProvider: choice(ONNX_PROVIDERS, {
    env: 'SALAD_ONNX_PROVIDER',
    default: 'cpu',
    description:
      'Execution provider of the onnx engine: cpu, or a device, if this onnxruntime has the provider and --engine onnx is set. Only cpu and webgpu (on a software adapter) were ever tried.',
  }),
  openvinoFolder: optionalText({
    allowed: 'a path or empty',
    env: 'SALAD_OPENVINO_FOLDER',
    default: '',
    description:
      "Folder of OpenVINO's libraries (openvino/libs of the Python package); empty means .cache/openvino, which npm run engines:openvino fills.",
  }),
  engineWatchdogMs: whole({
    env: 'SALAD_ENGINE_WATCHDOG_MS',
    default: 5000,
    unit: 'ms',
    min: 100,
    max: 3_600_000,
    description:
      'An engine counts as hung and is replaced if a batch takes longer than this plus 20 times its expected time.',
  }),
  engineBackOffMs: whole({
    env: 'SALAD_ENGINE_BACK_OFF_MS',
    default: 30_000,
    unit: 'ms',
    min: 10,
    max: 86_400_000,
    description:
      'Wait before the server tries a lost engine again while another engine scores; doubles with every failure in a row.',
  }),
  engineBackOffMaxMs: whole({
    env: 'SALAD_ENGINE_BACK_OFF_MAX_MS',
    default: 600_000,
    unit: 'ms',
    min: 10,
    max: 86_400_000,
    description: 'Longest wait before the server tries a lost engine again.',
  }),
  engineStandbyDelayMs: whole({
    env: 'SALAD_ENGINE_STANDBY_DELAY_MS',
    default: 10_000,
    unit: 'ms',
    min: 0,
    max: 86_400_000,
    description:
      'Wait after the start before the next engine is loaded as standby, which makes a fail-over immediate; 0 means never: a fail-over then takes seconds, and the memory of a second engine is saved.',
  }),
} as const;

export type EngineConfig = SettingsOf<typeof ENGINE_FIELDS>;
