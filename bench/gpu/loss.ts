/** Key of the memory by which losing-server.ts asks its worker threads to destroy their device. */
export const LOSS_KEY = 'salad-serve-gpu-loss';
