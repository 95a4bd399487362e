/** Numbers that training, every engine and the exports must share. */

/** Added to the variance in batch norm (PyTorch's default). */
export const BATCH_NORM_EPSILON = 1e-5;
/** PyTorch's: moving = (1 - momentum) * moving + momentum * batch. */
export const BATCH_NORM_MOMENTUM = 0.1;
/** Under the root of l2Normalize: zero vectors stay zero. */
export const L2_EPSILON = 1e-12;
