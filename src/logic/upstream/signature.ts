/**
 * The signature of a webhook request: `Halley-Signature: t=<unix seconds>,v1=<hex HMAC-SHA256 of "t.body">`. The time is
 * signed too, so a receiver can refuse what is old; each attempt is signed anew.
 */
import { createHmac } from 'node:crypto';

export function signature(secret: string, unixS: number, body: Uint8Array): string {
  const mac = createHmac('sha256', secret).update(`${unixS}.`).update(body).digest('hex');
  return `t=${unixS},v1=${mac}`;
}
