/** Names the field of a request in errors of `imaging` and `dicom`, which do not depend on the wire format. */
import { SaladError } from '../errors/index.js';

/** Runs `work`; errors that the content of the field caused get the field's name. Other errors are thrown unchanged. */
export async function withField<T>(field: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (thrown) {
    const error = SaladError.from(thrown);
    const isOfField = error.kind === 'invalidArgument' || error.reason === 'IMAGE_TOO_LARGE';
    if (error.fieldViolations.length > 0 || !isOfField) throw error;
    // Only the violation names the field: people read the message, and they know the name of the file.
    const { reason, message } = error;
    throw new SaladError(reason, message, { fieldViolations: [{ field, description: message }] });
  }
}
