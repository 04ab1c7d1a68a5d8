/** The text of a Lua script that stands beside its adapter: `luaSource(import.meta.url, 'put-session.lua')`. */
import { readFileSync } from 'node:fs';

export function luaSource(moduleUrl: string, fileName: string): string {
  return readFileSync(new URL(fileName, moduleUrl), 'utf8');
}
