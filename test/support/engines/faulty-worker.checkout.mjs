// See workers/engine-worker.checkout.mjs.
import { register } from 'tsx/esm/api';

register();
const { default: handler } = await import('./faulty-worker.ts');
export default handler;
