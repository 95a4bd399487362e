// As workers/engine-worker.checkout.mjs.
import { register } from 'tsx/esm/api';

register();
const { default: handle } = await import('./faulty-worker.ts');
export default handle;
