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
    throw SaladError.field(error.reason, field, error.message);
  }
}
