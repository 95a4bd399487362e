// Entry file of a worker thread in a checkout, where it runs from source. In a worker thread of Node 20 `--import tsx`
// registers no ESM hooks, so this file registers them. The built package starts engine-worker.js directly.
import { register } from 'tsx/esm/api';

register();
const { default: handler } = await import('./engine-worker.ts');
export default handler;
