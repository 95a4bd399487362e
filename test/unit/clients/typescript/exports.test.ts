/** What the declarations of the TypeScript client's package name, users of the package can name, too. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import ts from 'typescript';
import { root } from '../../../support/root.js';

const entry = join(root, 'clients/typescript/src/index.ts');
/** In memory only. */
const out = join(root, 'clients/typescript/declarations');
const declaredEntry = join(out, 'clients/typescript/src/index.d.ts');

/** Functions of types, whose results have names: `AcquisitionHeaderInput`, `ImageFormatInput`, `ScoringOptionsInput`. */
const FUNCTIONS_OF_TYPES = ['Builtin', 'DeepPartial'];

const options: ts.CompilerOptions = {
  target: ts.ScriptTarget.ES2023,
  lib: ['lib.es2023.d.ts'],
  module: ts.ModuleKind.NodeNext,
  types: ['node'],
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  skipLibCheck: true,
};

/** The declarations as the package has them. Only they name the types that functions return without saying so. */
function declarations(): ReadonlyMap<string, string> {
  const files = new Map<string, string>();
  const emitted = ts.createProgram([entry], {
    ...options,
    ...{ declaration: true, emitDeclarationOnly: true, rootDir: root, outDir: out },
  });
  emitted.emit(undefined, (path, text) => files.set(path, text));
  return files;
}

/** Of these files alone: types of packages and of the language are not looked at, and reading them takes seconds. */
function programOf(files: ReadonlyMap<string, string>): ts.Program {
  const own: ts.CompilerOptions = { ...options, noLib: true, types: [] };
  const host: ts.CompilerHost = {
    ...ts.createCompilerHost(own),
    fileExists: (path) => files.has(path),
    readFile: (path) => files.get(path),
    getSourceFile: (path, version) => {
      const text = files.get(path);
      return text === undefined ? undefined : ts.createSourceFile(path, text, version);
    },
  };
  // Without it no file is looked for in a folder that is on no disk.
  delete host.directoryExists;
  return ts.createProgram([declaredEntry], own, host);
}

/** The type that a node refers to, as an expression for the checker. */
function referenceOf(node: ts.Node): ts.Node | undefined {
  if (ts.isTypeReferenceNode(node)) return node.typeName;
  if (ts.isExpressionWithTypeArguments(node)) return node.expression;
  if (ts.isImportTypeNode(node)) return node.qualifier;
  return ts.isTypeQueryNode(node) ? node.exprName : undefined;
}

/** Names of the types of this repository that exports lead to, and of those that are exported. */
function typesOf(program: ts.Program): { readonly reached: Set<string>; readonly exported: Set<string> } {
  const checker = program.getTypeChecker();
  const target = (symbol: ts.Symbol) =>
    symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
  const reached = new Set<string>();
  const seen = new Set<ts.Node>();
  const visit = (node: ts.Node): void => {
    const reference = referenceOf(node);
    const found = reference && checker.getSymbolAtLocation(reference);
    if (found !== undefined) reach(target(found), ts.isTypeQueryNode(node));
    ts.forEachChild(node, visit);
  };
  /** @param isValue whether the value of that name is meant, and not only the type: messages have both */
  const reach = (symbol: ts.Symbol, isValue: boolean): void => {
    for (const declaration of symbol.declarations ?? []) {
      if (!declaration.getSourceFile().fileName.startsWith(out) || seen.has(declaration)) continue;
      const isType =
        ts.isInterfaceDeclaration(declaration) ||
        ts.isTypeAliasDeclaration(declaration) ||
        ts.isClassDeclaration(declaration) ||
        ts.isEnumDeclaration(declaration);
      if (!isType && !isValue) continue;
      seen.add(declaration);
      if (isType) reached.add(symbol.name);
      visit(declaration);
    }
  };
  const exported = new Set<string>();
  const module = checker.getSymbolAtLocation(program.getSourceFile(declaredEntry)!)!;
  for (const symbol of checker.getExportsOfModule(module)) {
    exported.add(symbol.name);
    const [specifier] = symbol.declarations ?? [];
    const isTypeOnly =
      specifier !== undefined &&
      ts.isExportSpecifier(specifier) &&
      (specifier.isTypeOnly || specifier.parent.parent.isTypeOnly);
    reach(target(symbol), !isTypeOnly);
  }
  return { reached, exported };
}

describe('the exports of the TypeScript client', function () {
  // Seconds of the compiler.
  this.timeout(180_000);

  it('have a name for every type that they lead to', () => {
    const { reached, exported } = typesOf(programOf(declarations()));
    // Types at some distance: the walk has come to them.
    for (const name of ['SaladClient', 'Quantile', 'SourcePoint', 'PixelPadding']) {
      assert.ok(reached.has(name), name);
    }
    const unnamed = [...reached].filter((name) => !exported.has(name));
    assert.deepEqual(unnamed.sort(), FUNCTIONS_OF_TYPES);
  });
});
