/** Opens a WebGPU device by Dawn's bindings for Node, and tfjs' WebGPU backend on it. One device per thread. */
import * as tf from '@tensorflow/tfjs-core';
import { SaladError } from '../../../errors/index.js';
import { importDawn, requireBackend } from './packages.js';

// The interfaces below declare the members of WebGPU objects that are used here.

export interface AdapterInfo {
  readonly vendor: string;
  readonly architecture: string;
  readonly device: string;
  readonly description: string;
  readonly isFallbackAdapter?: boolean;
}

interface Limits {
  readonly [name: string]: number | undefined;
}

interface Adapter {
  readonly info: AdapterInfo;
  readonly features: ReadonlySet<string>;
  readonly limits: Limits;
  requestDevice(descriptor: object): Promise<Device>;
}

type ErrorFilter = 'validation' | 'out-of-memory' | 'internal';

interface Device {
  readonly lost: Promise<{ readonly reason: string; readonly message: string }>;
  pushErrorScope(filter: ErrorFilter): void;
  popErrorScope(): Promise<{ readonly message: string } | null>;
  destroy(): void;
}

interface Gpu {
  requestAdapter(options?: object): Promise<Adapter | null>;
}

interface Dawn {
  create(flags: string[]): Gpu;
  readonly globals: Readonly<Record<string, unknown>>;
}

interface TfjsWebgpu {
  readonly WebGPUBackend: new (device: Device, info: AdapterInfo) => tf.KernelBackend;
}

/** A device in use. */
export interface DawnDevice {
  /** Human-readable: vendor, architecture, driver. */
  readonly description: string;
  /** False for an adapter that computes on the processor. */
  readonly hardware: boolean;
  /** Runs `work` and throws errors that the device reported meanwhile; not re-entrant: error scopes are a stack. */
  guard<T>(work: () => Promise<T>): Promise<T>;
  /** Ends this use; the end of the last use closes the device. */
  release(): void;
}

interface OpenDevice {
  readonly adapter: Adapter;
  readonly device: Device;
  /** A reference is kept because the device becomes invalid when Dawn's instance is collected. */
  readonly gpu: Gpu;
  userCount: number;
  /** Set once the device is lost. */
  lossReason: string | undefined;
}

const BACKEND = 'webgpu';
const SOFTWARE_ADAPTER = /swiftshader|llvmpipe|lavapipe|software|basic render/i;
const ERROR_FILTERS: readonly ErrorFilter[] = ['validation', 'out-of-memory', 'internal'];
/** Requested at the adapter's maximum: banks and batches need more than WebGPU's defaults. */
const RAISED_LIMITS = [
  'maxComputeWorkgroupStorageSize',
  'maxComputeWorkgroupsPerDimension',
  'maxStorageBufferBindingSize',
  'maxBufferSize',
  'maxComputeWorkgroupSizeX',
  'maxComputeInvocationsPerWorkgroup',
];

let current: OpenDevice | undefined;

function unavailable(reason: string, cause?: unknown): SaladError {
  return new SaladError('ENGINE_UNAVAILABLE', `webgpu: ${reason}; see docs/explanation/engines.md`, {
    cause,
  });
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

async function loadDawn(): Promise<Dawn> {
  try {
    return (await importDawn()) as Dawn;
  } catch (error) {
    throw unavailable(
      `Dawn's bindings do not load (npm run engines:webgpu installs them): ${textOf(error).split('\n')[0]}`,
      error,
    );
  }
}

/**
 * Throws the reason where Linux has no Vulkan loader, through which Dawn finds its driver; Dawn itself would only write
 * a warning to stderr. Opening the loader as an addon always fails, but with a different message where the file is
 * missing.
 */
function assertVulkan(): void {
  if (process.platform !== 'linux') return;
  try {
    process.dlopen({ exports: {} }, 'libvulkan.so.1');
  } catch (error) {
    if (textOf(error).includes('cannot open shared object')) {
      throw unavailable('there is no Vulkan loader (libvulkan.so.1) on this machine');
    }
  }
}

/** Defines globals such as GPUBufferUsage, which the backend's code reads as in a browser. */
function defineGlobals(globals: Dawn['globals']): void {
  for (const [name, value] of Object.entries(globals)) {
    if (!(name in globalThis)) Object.defineProperty(globalThis, name, { value, configurable: true });
  }
}

/**
 * Defines `navigator.gpu`, without which the backend does not start. Call it after the import of the backend, which
 * would otherwise register itself on a device of its own. Node 21 and later have a navigator without `gpu`.
 */
function defineNavigatorGpu(gpu: Gpu): void {
  if (!('navigator' in globalThis)) {
    Object.defineProperty(globalThis, 'navigator', { value: {}, configurable: true });
  }
  Object.defineProperty(Reflect.get(globalThis, 'navigator'), 'gpu', { value: gpu, configurable: true });
}

async function findAdapter(gpu: Gpu): Promise<Adapter> {
  const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' });
  if (adapter === null) throw unavailable('there is no adapter: no GPU, or no Vulkan (Metal, D3D12) driver');
  return adapter;
}

async function requestDevice(adapter: Adapter): Promise<Device> {
  const limits = RAISED_LIMITS.map((name) => [name, adapter.limits[name]] as const);
  const requiredLimits = Object.fromEntries(limits.filter(([, value]) => value !== undefined));
  try {
    return await adapter.requestDevice({ requiredLimits });
  } catch (error) {
    throw unavailable(`the adapter gives no device: ${textOf(error)}`, error);
  }
}

async function openDevice(): Promise<OpenDevice> {
  const { create, globals } = await loadDawn();
  assertVulkan();
  defineGlobals(globals);
  const gpu = create([]);
  const adapter = await findAdapter(gpu);
  const { WebGPUBackend } = loadBackend();
  defineNavigatorGpu(gpu);
  const device = await requestDevice(adapter);
  const open: OpenDevice = { adapter, device, gpu, userCount: 0, lossReason: undefined };
  device.lost.then(
    ({ reason, message }) => {
      open.lossReason = message || reason;
    },
    (error: unknown) => {
      open.lossReason = textOf(error);
    },
  );
  tf.registerBackend(BACKEND, () => new WebGPUBackend(device, adapter.info));
  if (!(await tf.setBackend(BACKEND))) throw unavailable('tfjs does not start on the device');
  return open;
}

function loadBackend(): TfjsWebgpu {
  try {
    return requireBackend() as TfjsWebgpu;
  } catch (error) {
    throw unavailable(`tfjs-backend-webgpu does not load: ${textOf(error).split('\n')[0]}`, error);
  }
}

/** Destroys the device also where removing the backend throws, as it may when the device is lost. */
function close(open: OpenDevice): void {
  if (current === open) current = undefined;
  try {
    tf.removeBackend(BACKEND);
  } finally {
    open.device.destroy();
  }
}

async function guard<T>(open: OpenDevice, work: () => Promise<T>): Promise<T> {
  if (open.lossReason !== undefined) throw new Error(`the device is lost: ${open.lossReason}`);
  const { device } = open;
  for (const filter of ERROR_FILTERS) device.pushErrorScope(filter);
  const outcome = await work().then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  );
  const errors = await Promise.all(ERROR_FILTERS.map(() => device.popErrorScope().catch(() => null)));
  if (open.lossReason !== undefined) throw new Error(`the device was lost: ${open.lossReason}`);
  const reported = errors.find((error) => error !== null);
  if (reported) throw new Error(reported.message);
  if ('error' in outcome) throw outcome.error;
  return outcome.value;
}

function describe({ vendor, architecture, device, description }: AdapterInfo): string {
  return [vendor, architecture, description || device].filter((part) => part !== '').join(' ');
}

/** Whether an adapter computes on the processor, by its flag or, where the driver does not set it, by its name. */
export function isSoftwareAdapter(info: AdapterInfo): boolean {
  return info.isFallbackAdapter === true || SOFTWARE_ADAPTER.test(`${describe(info)} ${info.device}`);
}

/**
 * The device of this thread: the one in use, or a new one where there is none or it was lost.
 * @throws SaladError ENGINE_UNAVAILABLE
 */
export async function acquireDevice(): Promise<DawnDevice> {
  if (current?.lossReason !== undefined) close(current);
  current ??= await openDevice();
  const open = current;
  open.userCount += 1;
  const { info } = open.adapter;
  let isReleased = false;
  return {
    description: describe(info),
    hardware: !isSoftwareAdapter(info),
    guard: (work) => guard(open, work),
    release() {
      if (isReleased) return;
      isReleased = true;
      open.userCount -= 1;
      if (open.userCount === 0 && current === open) close(open);
    },
  };
}
