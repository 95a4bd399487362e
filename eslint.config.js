// Biome lints everything; ESLint runs the two type-aware promise rules that Biome cannot match yet, and refuses functions
// that fail on a version of Node that is supported.
import tseslint from 'typescript-eslint';

export default tseslint.config(
  { ignores: ['**/dist', 'node_modules', 'coverage', 'src/gen', '**/*.js', '**/*.mjs'] },
  {
    files: ['src/**/*.ts', 'workers/**/*.ts', 'clients/**/*.ts', 'test/**/*.ts', 'bench/**/*.ts'],
    plugins: { '@typescript-eslint': tseslint.plugin },
    languageOptions: {
      parser: tseslint.parser,
      parserOptions: { project: './tsconfig.json', tsconfigRootDir: import.meta.dirname },
    },
    rules: {
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
      'no-restricted-properties': [
        'error',
        ...['any', 'timeout'].map((property) => ({
          object: 'AbortSignal',
          property,
          message:
            'On Node 20 it may be garbage-collected before it aborts: use withTimeLimit (src/util/time-limit.ts).',
        })),
      ],
    },
  },
);
