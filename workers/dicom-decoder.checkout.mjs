// Registers tsx for the same reason as engine-worker.checkout.mjs.
import { register } from 'tsx/esm/api';

register();
await import('./dicom-decoder.ts');
