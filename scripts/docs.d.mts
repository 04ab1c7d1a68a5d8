/** Types of docs.mjs for test/docs.test.ts. */
export interface DocModules {
  readonly config: { optionTableMarkdown(): string; defaultToml(): string };
  readonly errors: {
    readonly CLOSE: Readonly<Record<string, { readonly code: number; readonly reason: string; readonly doc: string }>>;
    readonly CLIENT_ERROR: Readonly<
      Record<string, { readonly code: number; readonly message: string; readonly temporary: boolean }>
    >;
  };
  readonly logic: { routeTableMarkdown(): string };
  readonly protocol: {
    readonly OP: Readonly<Record<string, number>>;
    readonly OP_DIRECTION: Readonly<Record<string, string>>;
    readonly FIRST_EXTENSION_OP: number;
  };
  readonly telemetry: {
    readonly METRICS: readonly {
      readonly name: string;
      readonly kind: string;
      readonly total: string;
      readonly doc: string;
    }[];
  };
}

export function readmeParts(modules: DocModules): Record<string, string>;
export function renderReadme(readme: string, parts: Readonly<Record<string, string>>): string;
export function stalePlaces(
  files: { readonly readme: string; readonly defaultToml: string },
  modules: DocModules,
): string[];
export function readDocs(): { readonly root: string; readonly readme: string; readonly defaultToml: string };
