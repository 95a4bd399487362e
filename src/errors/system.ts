/** Plain words for the errors of the operating system: no codes, no names of system calls, and what helps. */

const REASONS: Readonly<Record<string, string>> = {
  EACCES: 'permission denied: give this user the right to it (ls -l shows owner and rights)',
  EPERM: 'permission denied: give this user the right to it (ls -l shows owner and rights)',
  EROFS: 'its file system is read-only: choose another path',
  ENOSPC: 'no space is left on its file system: free some, or choose another path',
  EISDIR: 'it is a folder, not a file',
  ENOTDIR: 'a part of the path is a file, not a folder',
};

/** The reason of an operating-system error without code, call and path; the message of any other error. */
export function systemReason(error: unknown): string {
  const code: unknown = error instanceof Error ? Reflect.get(error, 'code') : undefined;
  const known = typeof code === 'string' ? REASONS[code] : undefined;
  if (known !== undefined) return known;
  const message = error instanceof Error ? error.message : String(error);
  return /^[A-Z0-9]+: ([^,]+), \w+/.exec(message)?.[1] ?? message;
}
