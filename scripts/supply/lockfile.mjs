// Rules for package-lock.json (version 3).

/** Entries of packages, without the root project and links, which have no archive. */
function archives(lock) {
  return Object.entries(lock.packages).filter(([path, entry]) => path !== '' && !entry.link);
}

/**
 * The faults of a lock file, one sentence each; empty if there are none.
 *
 * `hasInstallScript` must be absent: `npm ci` runs the install script of a dependency only if the lock file has this key.
 * `allowScripts` of package.json has the same effect, but npm before 11.10 ignores it. Without an install script, npm
 * compiles a package that has a binding.gyp, unless its entry has `"gypfile": false`.
 * @param hasBinding whether the installed package at this path has a binding.gyp
 */
export function lockFaults(lock, hasBinding) {
  return archives(lock).flatMap(([path, entry]) => [
    ...(entry.integrity ? [] : [`${path} has no integrity`]),
    ...(entry.hasInstallScript
      ? [`${path} has hasInstallScript: npm before 11.10 would run its script`]
      : []),
    ...(entry.gypfile !== false && hasBinding(path)
      ? [`${path} lacks "gypfile": false: npm would compile it`]
      : []),
  ]);
}

/** Changes the lock file so that no install script runs. @param hasBinding see `lockFaults` */
export function denyScripts(lock, hasBinding) {
  for (const [path, entry] of archives(lock)) {
    delete entry.hasInstallScript;
    if (hasBinding(path)) entry.gypfile = false;
  }
}
