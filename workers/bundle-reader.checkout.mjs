// See workers/engine-worker.checkout.mjs.
import { register } from 'tsx/esm/api';

register();
const { default: read } = await import('./bundle-reader.ts');
export default read;
