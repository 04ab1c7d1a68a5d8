/**
 * The entries of `tls.sni`: `name=cert.pem:key.pem`, a certificate for clients that ask for that name.
 */
export interface SniEntry {
  /** In small letters; `*.` at its front stands for one label. */
  readonly serverName: string;
  readonly certFile: string;
  readonly keyFile: string;
}

const ENTRY = /^([^=]+)=([^:]+):([^:]+)$/;
const NAME = /^(\*\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/;
const MAX_NAME_CHARACTERS = 253;

/** What the entries say; call it for a list without a problem. */
export function parseSni(entries: readonly string[]): SniEntry[] {
  return entries.map((text) => {
    const [, name = '', certFile = '', keyFile = ''] = ENTRY.exec(text) ?? [];
    return { serverName: name.toLowerCase(), certFile, keyFile };
  });
}

/** What is wrong with the list, as a sentence; undefined where nothing is. */
export function sniProblem(entries: readonly string[]): string | undefined {
  const seen = new Set<string>();
  for (const [index, text] of entries.entries()) {
    if (!ENTRY.test(text)) return `tls.sni must hold entries like name=cert.pem:key.pem, entry ${index + 1} is none`;
    const { serverName } = parseSni([text])[0]!;
    if (!NAME.test(serverName) || serverName.length > MAX_NAME_CHARACTERS) {
      return `tls.sni must name hosts, such as chat.example.com or *.example.com, entry ${index + 1} does not`;
    }
    if (seen.has(serverName)) return `tls.sni must name each host once, ${serverName} stands there twice`;
    seen.add(serverName);
  }
  return undefined;
}
