/** Finds the driver's Vulkan part and the libraries that it needs, on a machine where nothing was installed for it. */
import { existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Figures } from './report.js';

/** Where the Vulkan loader looks by itself. */
const LOADER_FOLDERS = [
  '/etc/vulkan/icd.d',
  '/usr/share/vulkan/icd.d',
  '/usr/local/etc/vulkan/icd.d',
  '/usr/local/share/vulkan/icd.d',
];
/** Where container runtimes put the files of the driver. */
const DRIVER_FOLDERS = [
  '/usr/local/nvidia',
  '/run/nvidia/driver/usr',
  '/run/opengl-driver',
  '/opt/nvidia',
  '/usr/lib/nvidia',
];
/** Of the NVIDIA driver; each has the entry points of its Vulkan part. */
const DRIVER_LIBRARIES = ['libGLX_nvidia.so.0', 'libEGL_nvidia.so.0'];

export interface Vulkan {
  /** Variables for processes that use the device; the loaders read them when a process starts. */
  readonly environment: Readonly<Record<string, string>>;
  readonly facts: Figures;
}

/**
 * @param libraries folder of libraries for machines that lack them; each is used only where the machine has none
 * @param scratch folder for the files that this function writes
 */
export function findVulkan(
  libraries: string | undefined,
  scratch: string,
  environment: Readonly<Record<string, string | undefined>>,
): Vulkan {
  const carried = libraries === undefined ? [] : readdirSync(libraries).filter((name) => !canOpen(name));
  const folder = join(scratch, 'lib');
  mkdirSync(folder, { recursive: true });
  for (const name of carried) symlinkSync(join(libraries!, name), join(folder, name));
  const driverLibraries = DRIVER_FOLDERS.flatMap((each) => [join(each, 'lib64'), join(each, 'lib')]);
  const path = [environment['LD_LIBRARY_PATH'] ?? '', ...driverLibraries.filter(existsSync), folder];
  const manifest = driverManifest(environment, scratch);
  return {
    environment: {
      LD_LIBRARY_PATH: path.filter((each) => each !== '').join(':'),
      ...(manifest.file === undefined ? {} : { VK_ICD_FILENAMES: manifest.file }),
    },
    facts: { driverManifest: manifest.description, carriedLibraries: carried },
  };
}

/** The file that names the driver's library to the Vulkan loader; `file` undefined: the loader finds one by itself. */
function driverManifest(
  environment: Readonly<Record<string, string | undefined>>,
  scratch: string,
): { readonly file?: string; readonly description: string } {
  const given = environment['VK_DRIVER_FILES'] ?? environment['VK_ICD_FILENAMES'];
  if (given !== undefined) return { description: `${given} (from the environment)` };
  const [known] = LOADER_FOLDERS.flatMap(manifestsIn);
  if (known !== undefined) return { description: known };
  const [elsewhere] = DRIVER_FOLDERS.flatMap((each) => [
    ...manifestsIn(join(each, 'share/vulkan/icd.d')),
    ...manifestsIn(join(each, 'etc/vulkan/icd.d')),
  ]);
  if (elsewhere !== undefined) return { file: elsewhere, description: elsewhere };
  const library = DRIVER_LIBRARIES.find(canOpen);
  if (library === undefined)
    return { description: 'none: there is no Vulkan driver of NVIDIA on this machine' };
  const file = join(scratch, 'nvidia_icd.json');
  const ICD = { library_path: library, api_version: '1.3.0' };
  writeFileSync(file, JSON.stringify({ file_format_version: '1.0.0', ICD }));
  return { file, description: `written for ${library}` };
}

/** Files of NVIDIA's driver in a folder. */
function manifestsIn(folder: string): readonly string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => /nvidia.*\.json$/.test(name))
    .map((name) => join(folder, name));
}

/** Opening a library as an addon always fails, but with a different message where the library is missing. */
function canOpen(name: string): boolean {
  try {
    process.dlopen({ exports: {} }, name);
    return true;
  } catch (error) {
    return !(error instanceof Error && error.message.startsWith(`${name}: cannot open shared object`));
  }
}
