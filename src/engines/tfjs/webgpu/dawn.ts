/** A WebGPU device from Dawn's Node bindings, and tfjs' WebGPU backend standing on it. One per thread. */
import * as tf from '@tensorflow/tfjs-core';
import { SaladError } from '../../../errors/index.js';
import { importDawn, requireBackend } from './packages.js';

/** The parts of WebGPU used here; Dawn's objects have all of it. */
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
  /** For people: vendor, architecture, driver. */
  readonly description: string;
  /** False for an adapter that computes on the processor. */
  readonly hardware: boolean;
  /** Runs work and throws what the device reported meanwhile; not re-entrant: error scopes are a stack. */
  guard<T>(work: () => Promise<T>): Promise<T>;
  /** Gives this use back; the last one closes the device. */
  release(): void;
}

interface Open {
  readonly adapter: Adapter;
  readonly device: Device;
  /** Kept: the device does not outlive Dawn's instance. */
  readonly gpu: Gpu;
  users: number;
  lost: string | undefined;
}

const BACKEND = 'webgpu';
const SOFTWARE = /swiftshader|llvmpipe|lavapipe|software|basic render/i;
const ERROR_FILTERS: readonly ErrorFilter[] = ['validation', 'out-of-memory', 'internal'];
/** Larger than WebGPU's defaults where the adapter allows: banks and batches are big. */
const RAISED_LIMITS = [
  'maxComputeWorkgroupStorageSize',
  'maxComputeWorkgroupsPerDimension',
  'maxStorageBufferBindingSize',
  'maxBufferSize',
  'maxComputeWorkgroupSizeX',
  'maxComputeInvocationsPerWorkgroup',
];

let current: Open | undefined;

function unavailable(why: string, cause?: unknown): SaladError {
  return new SaladError('ENGINE_UNAVAILABLE', `webgpu: ${why}; see docs/explanation/engines.md`, { cause });
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
 * Dawn finds its driver through the Vulkan loader on Linux, and writes a warning to stderr where there is
 * none. Asking first gives the reason instead. The loader is no addon, so opening it as one always fails;
 * how it fails tells.
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

/** The backend's code reads constants such as GPUBufferUsage as globals, as in a browser. */
function defineGlobals(globals: Dawn['globals']): void {
  for (const [name, value] of Object.entries(globals)) {
    if (!(name in globalThis)) Object.defineProperty(globalThis, name, { value, configurable: true });
  }
}

/**
 * The backend refuses to start without `navigator.gpu`. Defined after the backend was imported, which would
 * otherwise register itself on a device of its own. Node 21 and later have a navigator, without `gpu`.
 */
function offerNavigator(gpu: Gpu): void {
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

async function openDevice(): Promise<Open> {
  const { create, globals } = await loadDawn();
  assertVulkan();
  defineGlobals(globals);
  const gpu = create([]);
  const adapter = await findAdapter(gpu);
  const { WebGPUBackend } = loadBackend();
  offerNavigator(gpu);
  const device = await requestDevice(adapter);
  const open: Open = { adapter, device, gpu, users: 0, lost: undefined };
  device.lost.then(
    ({ reason, message }) => {
      open.lost = message || reason;
    },
    (error: unknown) => {
      open.lost = textOf(error);
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

/** Disposing of a backend whose device is lost may throw; there is nothing left to save then. */
function close(open: Open): void {
  if (current === open) current = undefined;
  try {
    tf.removeBackend(BACKEND);
  } finally {
    open.device.destroy();
  }
}

async function guard<T>(open: Open, work: () => Promise<T>): Promise<T> {
  if (open.lost !== undefined) throw new Error(`the device is lost: ${open.lost}`);
  const { device } = open;
  for (const filter of ERROR_FILTERS) device.pushErrorScope(filter);
  const outcome = await work().then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  );
  const errors = await Promise.all(ERROR_FILTERS.map(() => device.popErrorScope().catch(() => null)));
  if (open.lost !== undefined) throw new Error(`the device was lost: ${open.lost}`);
  const reported = errors.find((error) => error !== null);
  if (reported) throw new Error(reported.message);
  if ('error' in outcome) throw outcome.error;
  return outcome.value;
}

function describe({ vendor, architecture, device, description }: AdapterInfo): string {
  return [vendor, architecture, description || device].filter((part) => part !== '').join(' ');
}

/** Whether an adapter computes on the processor: flagged so, or known by name where the driver does not say. */
export function isSoftwareAdapter(info: AdapterInfo): boolean {
  return info.isFallbackAdapter === true || SOFTWARE.test(`${describe(info)} ${info.device}`);
}

/**
 * A device for this thread: the one in use, or a new one where there is none or it was lost.
 * @throws SaladError ENGINE_UNAVAILABLE
 */
export async function acquireDevice(): Promise<DawnDevice> {
  if (current?.lost !== undefined) close(current);
  current ??= await openDevice();
  const open = current;
  open.users += 1;
  const { info } = open.adapter;
  let released = false;
  return {
    description: describe(info),
    hardware: !isSoftwareAdapter(info),
    guard: (work) => guard(open, work),
    release() {
      if (released) return;
      released = true;
      open.users -= 1;
      if (open.users === 0 && current === open) close(open);
    },
  };
}
