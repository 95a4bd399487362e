// Rules for package-lock.json (version 3).

/** Entries of packages; the root project and links have no archive of their own. */
function archives(lock) {
  return Object.entries(lock.packages).filter(([path, entry]) => path !== '' && !entry.link);
}

/**
 * What is wrong with a lock file, a sentence each; empty where nothing is.
 *
 * `hasInstallScript` must be absent: `npm ci` runs a dependency's install script only where the lock file says that
 * there is one. `allowScripts` of package.json says the same, but npm before 11.10 does not know it. A package with
 * a binding.gyp is compiled by npm where no install script is known, unless its entry has `"gypfile": false`.
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

/** Changes the lock file so that no install script runs. @param hasBinding as of `lockFaults` */
export function denyScripts(lock, hasBinding) {
  for (const [path, entry] of archives(lock)) {
    delete entry.hasInstallScript;
    if (hasBinding(path)) entry.gypfile = false;
  }
}
