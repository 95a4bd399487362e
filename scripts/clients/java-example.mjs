// Builds the Java example with Maven.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { root } from '../root.mjs';

/** @param out a folder for what is generated and built @returns arguments of `java` before those of the program */
export function buildJavaExample(out) {
  const pom = join(root, 'clients/java/pom.xml');
  execFileSync('mvn', ['-q', '-B', '-ntp', `-DbuildFolder=${out}`, '-f', pom, 'compile'], {
    stdio: ['ignore', 2, 2],
  });
  const classPath = `${join(out, 'classes')}:${join(out, 'libraries/*')}`;
  return ['-cp', classPath, 'io.github.saladserve.examples.StreamDetector'];
}
