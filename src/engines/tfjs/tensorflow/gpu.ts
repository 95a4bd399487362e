/** Finds out whether the machine may have an NVIDIA GPU without loading libtensorflow (800 MB). */
import { existsSync } from 'node:fs';

/** Device files of the NVIDIA driver (two), WSL and Jetson. */
const DEVICE_FILES = ['/dev/nvidiactl', '/dev/nvidia0', '/dev/dxg', '/dev/nvmap'];

/** False only on Linux without a device file; other systems have no such file, so there it is always true. */
export function mayHaveCudaDevice(
  platform: NodeJS.Platform = process.platform,
  exists: (file: string) => boolean = existsSync,
): boolean {
  return platform !== 'linux' || DEVICE_FILES.some((file) => exists(file));
}
