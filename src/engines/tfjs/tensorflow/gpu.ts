/** Whether an NVIDIA GPU can be here at all, without loading the 800 MB that would use it. */
import { existsSync } from 'node:fs';

/** Device files: the driver's own, WSL's, Jetson's. */
const DEVICE_FILES = ['/dev/nvidiactl', '/dev/nvidia0', '/dev/dxg', '/dev/nvmap'];

/** False only where it is sure; other systems than Linux do not show it as a file. */
export function mayHaveCudaDevice(): boolean {
  return process.platform !== 'linux' || DEVICE_FILES.some((file) => existsSync(file));
}
