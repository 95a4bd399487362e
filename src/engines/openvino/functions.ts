/** Loads OpenVINO's C library through koffi and declares the functions that are used. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../util/package-root.js';

/** Folder that `npm run engines:openvino` fills with the libraries, relative to the root of the checkout. */
const FETCHED_FOLDER = '.cache/openvino';
/** libopenvino_c.so.2641, libopenvino_c.2641.dylib, openvino_c.dll */
const LIBRARY_NAME = /^(lib)?openvino_c\.(so|dylib|dll|\d)/;

export type Koffi = typeof import('koffi').default;
/** A dense tensor's values, uint8 or float32, in memory of the caller; shared memory too. */
export type TensorData = Uint8Array | Float32Array;

/** koffi's form of an address. */
export type Pointer = bigint;
/** koffi's form of an output parameter. */
export type Out<T> = [T | null];

/** The functions of the C API that are used. A returned number is a status: 0 = success. */
export interface Functions {
  ov_get_last_err_msg(): string | null;
  ov_get_openvino_version(version: { buildNumber?: string }): number;
  ov_core_create(core: Out<Pointer>): number;
  ov_core_free(core: Pointer): void;
  ov_core_get_property(core: Pointer, device: string, key: string, value: Out<Pointer>): number;
  ov_free(text: Pointer): void;
  ov_core_read_model_from_memory_buffer(
    core: Pointer,
    bytes: Uint8Array,
    size: number,
    weights: null,
    model: Out<Pointer>,
  ): number;
  ov_model_free(model: Pointer): void;
  ov_partial_shape_create_static(rank: number, dims: BigInt64Array, shape: object): number;
  ov_partial_shape_free(shape: object): void;
  ov_model_reshape_single_input(model: Pointer, shape: object): number;
  ov_core_compile_model_props(
    core: Pointer,
    model: Pointer,
    device: string,
    count: number,
    properties: readonly string[],
    compiled: Out<Pointer>,
  ): number;
  ov_compiled_model_free(compiled: Pointer): void;
  ov_compiled_model_create_infer_request(compiled: Pointer, request: Out<Pointer>): number;
  ov_infer_request_free(request: Pointer): void;
  ov_tensor_create_from_host_ptr(type: number, shape: object, data: TensorData, tensor: Out<Pointer>): number;
  ov_tensor_free(tensor: Pointer): void;
  ov_infer_request_set_input_tensor_by_index(request: Pointer, index: number, tensor: Pointer): number;
  ov_infer_request_set_output_tensor_by_index(request: Pointer, index: number, tensor: Pointer): number;
  ov_infer_request_infer(request: Pointer): number;
}

const PROTOTYPES: Readonly<Record<keyof Functions, string>> = {
  ov_get_last_err_msg: 'const char *ov_get_last_err_msg()',
  ov_get_openvino_version: 'int ov_get_openvino_version(_Out_ ov_version_t *version)',
  ov_core_create: 'int ov_core_create(_Out_ void **core)',
  ov_core_free: 'void ov_core_free(void *core)',
  ov_core_get_property:
    'int ov_core_get_property(void *core, const char *device, const char *key, _Out_ void **value)',
  ov_free: 'void ov_free(void *text)',
  ov_core_read_model_from_memory_buffer:
    'int ov_core_read_model_from_memory_buffer(void *core, void *bytes, size_t size, void *weights, _Out_ void **model)',
  ov_model_free: 'void ov_model_free(void *model)',
  ov_partial_shape_create_static:
    'int ov_partial_shape_create_static(int64_t rank, int64_t *dims, _Out_ ov_partial_shape_t *shape)',
  ov_partial_shape_free: 'void ov_partial_shape_free(ov_partial_shape_t *shape)',
  ov_model_reshape_single_input: 'int ov_model_reshape_single_input(void *model, ov_partial_shape_t shape)',
  ov_core_compile_model_props:
    'int ov_core_compile_model_props(void *core, void *model, const char *device, size_t count, const char **properties, _Out_ void **compiled)',
  ov_compiled_model_free: 'void ov_compiled_model_free(void *compiled)',
  ov_compiled_model_create_infer_request:
    'int ov_compiled_model_create_infer_request(void *compiled, _Out_ void **request)',
  ov_infer_request_free: 'void ov_infer_request_free(void *request)',
  ov_tensor_create_from_host_ptr:
    'int ov_tensor_create_from_host_ptr(int type, ov_shape_t shape, void *data, _Out_ void **tensor)',
  ov_tensor_free: 'void ov_tensor_free(void *tensor)',
  ov_infer_request_set_input_tensor_by_index:
    'int ov_infer_request_set_input_tensor_by_index(void *request, size_t index, void *tensor)',
  ov_infer_request_set_output_tensor_by_index:
    'int ov_infer_request_set_output_tensor_by_index(void *request, size_t index, void *tensor)',
  ov_infer_request_infer: 'int ov_infer_request_infer(void *request)',
};

function fetchedFolder(): string | undefined {
  const folder = join(packageRoot(), FETCHED_FOLDER);
  return existsSync(folder) ? folder : undefined;
}

function libraryFile(folder: string | undefined): string {
  if (folder === undefined) throw new Error('its library is missing; npm run engines:openvino fetches it');
  const name = existsSync(folder) ? readdirSync(folder).find((file) => LIBRARY_NAME.test(file)) : undefined;
  if (name === undefined) throw new Error(`there is no libopenvino_c in ${folder}`);
  return join(folder, name);
}

export interface LoadedLibrary {
  readonly koffi: Koffi;
  readonly functions: Functions;
}

/** By file. A loaded library cannot be unloaded from the process. */
const loadedLibraries = new Map<string, LoadedLibrary>();
let areTypesDeclared = false;

/**
 * @param folder of the libraries; empty: the one that `npm run engines:openvino` fills
 * @throws Error where the library or koffi is missing or does not load.
 */
export async function loadFunctions(folder: string): Promise<LoadedLibrary> {
  const file = libraryFile(folder === '' ? fetchedFolder() : folder);
  const loaded = loadedLibraries.get(file);
  if (loaded !== undefined) return loaded;
  const { default: koffi } = await import('koffi');
  // koffi accepts a type name once per thread.
  if (!areTypesDeclared) {
    areTypesDeclared = true;
    koffi.struct('ov_version_t', { buildNumber: 'const char *', description: 'const char *' });
    koffi.struct('ov_shape_t', { rank: 'int64_t', dims: 'int64_t *' });
    koffi.struct('ov_partial_shape_t', { rankMin: 'int64_t', rankMax: 'int64_t', dims: 'void *' });
  }
  const library = koffi.load(file);
  const functions = Object.fromEntries(
    Object.entries(PROTOTYPES).map(([name, prototype]) => [name, library.func(prototype)]),
  ) as unknown as Functions;
  const entry = { koffi, functions };
  loadedLibraries.set(file, entry);
  return entry;
}

/** @throws Error with OpenVINO's message where the status is not 0. */
export function checkStatus(functions: Functions, status: number): void {
  if (status !== 0) throw new Error(functions.ov_get_last_err_msg()?.trim() || `OpenVINO's status ${status}`);
}

/** Calls a function and returns its output parameter. @throws Error with OpenVINO's message */
export function outputOf(functions: Functions, call: (out: Out<Pointer>) => number): Pointer {
  const out: Out<Pointer> = [null];
  checkStatus(functions, call(out));
  if (out[0] === null) throw new Error('OpenVINO returned no object');
  return out[0];
}
