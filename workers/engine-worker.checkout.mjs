// In a checkout the worker runs from source. `--import tsx` registers no ESM hooks in a worker thread of Node 20,
// so they are registered here; the built package uses engine-worker.js directly.
import { register } from 'tsx/esm/api';

register();
const { default: handle } = await import('./engine-worker.ts');
export default handle;
