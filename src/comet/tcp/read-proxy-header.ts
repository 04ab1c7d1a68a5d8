/**
 * Takes the PROXY protocol's header off a socket and leaves everything behind it unread, for whoever reads on: a TLS handshake
 * or the packets.
 *
 * Threads: its bucket.
 * Guarantees: calls back at most once, and not at all where the connection ended by itself. The socket is paused then, and
 *   nothing of this listens to it any more. Keeps at most MAX_HEADER_BYTES and one read.
 */
import type { Socket } from 'node:net';
import { ProxyHeader } from '../limits/proxy-header.js';

export interface ReadProxyHeader {
  /** The client's; undefined: the proxy speaks for itself, or does not know. */
  readonly address: string | undefined;
}

/** @param done undefined: what came is no header, or it was not whole in time. The socket is the caller's to end */
export function readProxyHeader(
  socket: Socket,
  timeoutMs: number,
  done: (header: ReadProxyHeader | undefined) => void,
): void {
  const header = new ProxyHeader();
  const stop = (): void => {
    clearTimeout(deadline);
    socket.off('data', read).off('end', ended).off('close', stop);
  };
  const finish = (result: ReadProxyHeader | undefined, rest?: Uint8Array): void => {
    stop();
    // In this order: a flowing socket hands on at once what is given back to it.
    socket.pause();
    if (rest !== undefined && rest.length > 0) socket.unshift(rest);
    done(result);
  };
  const read = (chunk: Buffer): void => {
    const result = header.feed(chunk);
    if (result.status === 'more') return;
    if (result.status === 'done') finish({ address: result.address }, result.rest);
    else finish(undefined);
  };
  // Its half is closed and the header is not whole: nothing can come of it, and nobody was refused.
  const ended = (): void => void socket.destroy();
  const deadline = setTimeout(finish, timeoutMs, undefined);
  socket.on('data', read).on('end', ended).on('close', stop);
}
