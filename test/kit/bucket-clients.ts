/** Clients on a bucket of one's choice: the kernel deals connections out, so the client asks the application where it is. */
import type { AuthBody } from '../../src/protocol/index.js';
import { WireClient, type WireClientOptions } from './wire-client.js';

/** Op that `test/fixtures/misbehaving.mjs` answers with its bucket's number. */
export const ASK_BUCKET_OP = 2000;
const MAX_TRIES = 200;

/** Connect until the connection lands on the bucket; the others are closed. */
export async function connectToBucket(
  url: string,
  bucket: number,
  auth: Partial<AuthBody> = {},
  options: WireClientOptions = {},
): Promise<WireClient> {
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const client = await WireClient.connect(url, auth, options);
    const answer = await client.request(ASK_BUCKET_OP);
    if (Number(answer.body.toString()) === bucket) return client;
    await client.close();
  }
  throw new Error(`no connection reached bucket ${bucket} in ${MAX_TRIES} tries`);
}
