import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CLOSE } from '../../errors/index.js';
import { encodeDisconnect, encodePacket, OP } from '../../protocol/index.js';
import { Channel, type ChannelOwner } from '../bucket/channel.js';
import { SOCKET_ANSWER } from '../bucket/channel-socket.js';
import { HttpMessage } from './http-message.js';
import { HttpSession, type SessionHost, type SessionReader } from './http-session.js';

class Host implements SessionHost {
  readonly reconnectWindowMs = 9_000;
  maxBackpressureBytes = 100;
  replayBytes = 30;
  readonly events: string[] = [];
  serveSoon(session: HttpSession): void {
    session.reader?.serve(session);
  }
  subscribe(): boolean {
    return true;
  }
  unsubscribe(): boolean {
    return true;
  }
  drainedCount = 0;
  drained(): void {
    this.drainedCount += 1;
  }
  lost(): void {
    this.events.push('lost');
  }
  ended(): void {
    this.events.push('ended');
  }
  readerChanged(): void {}
}

/** Takes everything at once, as a poll does; what it took is answered. */
class Poll implements SessionReader {
  taken: { readonly numbers: readonly number[]; readonly texts: readonly string[] } | undefined;
  superseded = false;
  serve(session: HttpSession): void {
    if (session.kept.length === 0) return;
    const first = session.lastNumber - session.kept.length + 1;
    this.taken = {
      numbers: session.kept.map((_, index) => first + index),
      texts: session.kept.map(({ bytes }) => Buffer.from(bytes).toString()),
    };
    session.detach(this);
  }
  supersede(): void {
    this.superseded = true;
  }
  onDeadline(): void {}
}

/** A stream into a socket that takes `credit` messages. */
class Stream implements SessionReader {
  readonly sent: [number, string][] = [];
  credit = 0;
  serve(session: HttpSession): void {
    while (this.credit > 0 && session.hasUnsent) {
      const message = session.takeNext();
      if (message === undefined) return;
      this.credit -= 1;
      this.sent.push([session.sentNumber, Buffer.from(message.bytes).toString()]);
      session.written();
    }
  }
  supersede(): void {}
  onDeadline(): void {}
}

const text = (value: string) => new HttpMessage(Buffer.from(value));

describe('a fallback session', () => {
  it('brings every message once and in order, or says that it lost some, whatever gets lost on the way', () => {
    const step = fc.oneof(
      {
        weight: 4,
        arbitrary: fc.record({ kind: fc.constant('deliver' as const), bytes: fc.integer({ min: 1, max: 40 }) }),
      },
      { weight: 3, arbitrary: fc.record({ kind: fc.constant('poll' as const), isLost: fc.boolean() }) },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant('stream' as const) }) },
      {
        weight: 3,
        arbitrary: fc.record({ kind: fc.constant('credit' as const), count: fc.integer({ min: 1, max: 5 }) }),
      },
      // The client sees only some of what the kernel took.
      { weight: 2, arbitrary: fc.record({ kind: fc.constant('cut' as const), seen: fc.integer({ min: 0, max: 5 }) }) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const host = new Host();
        const session = new HttpSession(host, '');
        const delivered: string[] = [];
        const seen: string[] = [];
        let cursor = 0;
        let stream: Stream | undefined;
        const take = (number: number, value: string) => {
          if (number <= cursor) throw new Error('a message that was acknowledged came again');
          if (number !== cursor + 1) {
            // Only behind a loss that was told.
            expect(host.events).toContain('lost');
            for (let missing = cursor + 1; missing < number; missing++) seen.push(delivered[missing - 1]!);
          }
          seen.push(value);
          cursor = number;
        };
        const read = (upTo = Number.POSITIVE_INFINITY) => {
          for (const [number, value] of stream?.sent.splice(0, upTo) ?? []) take(number, value);
        };
        for (const one of steps) {
          if (one.kind === 'deliver') {
            const value = `${delivered.length}:`.padEnd(one.bytes, '.');
            const before = session.getBufferedAmount();
            const answer = session.deliver(text(value));
            expect(answer === SOCKET_ANSWER.DROPPED).toBe(before > host.maxBackpressureBytes);
            if (answer !== SOCKET_ANSWER.DROPPED) delivered.push(value);
          } else if (one.kind === 'poll') {
            if (stream !== undefined) read(0);
            stream = undefined;
            const poll = new Poll();
            session.attach(poll, cursor);
            if (!one.isLost && poll.taken !== undefined) {
              for (const [index, number] of poll.taken.numbers.entries()) take(number, poll.taken.texts[index]!);
            }
            session.detach(poll);
          } else if (one.kind === 'stream') {
            if (stream !== undefined) read();
            stream = new Stream();
            session.attach(stream, cursor);
          } else if (one.kind === 'credit' && stream !== undefined) {
            stream.credit += one.count;
            stream.serve(session);
          } else if (one.kind === 'cut' && stream !== undefined) {
            read(one.seen);
            session.detach(stream);
            stream = undefined;
          }
          expect(session.getBufferedAmount()).toBeGreaterThanOrEqual(0);
          expect(session.getBufferedAmount()).toBeLessThanOrEqual(host.maxBackpressureBytes + 42);
          const keptBytes = session.kept.reduce((sum, { bytes }) => sum + bytes.length, 0);
          expect(keptBytes - session.getBufferedAmount()).toBeLessThanOrEqual(host.replayBytes);
        }
        if (stream !== undefined) {
          read();
          session.detach(stream);
        }
        const last = new Poll();
        session.attach(last, cursor);
        for (const [index, number] of last.taken?.numbers.entries() ?? []) take(number, last.taken!.texts[index]!);
        // What stands behind the last message that is kept was lost, and told.
        if (cursor < delivered.length) expect(host.events).toContain('lost');
        expect(seen).toEqual(delivered.slice(0, seen.length));
        session.attach(new Poll(), session.lastNumber);
        expect([session.kept.length, session.getBufferedAmount()]).toEqual([0, 0]);
      }),
      { numRuns: 500 },
    );
  });

  it('keeps of a stream the newest bytes within the bound, and says what is lost below', () => {
    const host = new Host();
    const session = new HttpSession(host, '');
    const stream = new Stream();
    stream.credit = 100;
    session.attach(stream, 0);
    for (let index = 1; index <= 10; index++) session.deliver(text('0123456789'));
    expect([session.kept.length, session.getBufferedAmount(), session.lastNumber]).toEqual([3, 0, 10]);
    session.attach(new Stream(), 7);
    expect(host.events).toEqual([]);
    session.attach(new Stream(), 6);
    expect(host.events).toEqual(['lost']);
  });

  it('lets the newer of two readers win', () => {
    const session = new HttpSession(new Host(), '');
    const [older, newer] = [new Poll(), new Poll()];
    session.attach(older, 0);
    session.attach(newer, 0);
    session.deliver(text('x'));
    expect([older.superseded, older.taken, newer.taken?.texts]).toEqual([true, undefined, ['x']]);
  });

  it('is not slow for what a poll has answered and the next one has not acknowledged yet', () => {
    const host = new Host();
    const session = new HttpSession(host, '');
    const large = new Uint8Array(host.maxBackpressureBytes + 1);
    session.deliver(new HttpMessage(large));
    expect(session.deliver(text('more'))).toBe(SOCKET_ANSWER.DROPPED);
    session.answered();
    expect([session.getBufferedAmount(), host.drainedCount]).toEqual([0, 1]);
    expect(session.deliver(text('next'))).not.toBe(SOCKET_ANSWER.DROPPED);
    // The answer was lost: the same again, which has to be taken once more.
    session.attach(new Poll(), 0);
    expect(session.getBufferedAmount()).toBeGreaterThan(host.maxBackpressureBytes);
  });

  it('ends once, with the advice of the op 6 before', () => {
    const host = new Host();
    const session = new HttpSession(host, '');
    session.channel = new Channel({} as ChannelOwner);
    const advice = { code: 3501, reason: 'moved', reconnect: true, retryAfterMs: 700, nodes: [] };
    session.send(encodePacket(OP.DISCONNECT, 0, 1, encodeDisconnect('json', advice)));
    session.end(3501, 'cut short');
    session.close();
    expect(session.over).toEqual({ code: 3501, reason: 'moved', reconnect: true, retryAfterMs: 700 });
    expect(host.events).toEqual(['ended']);
    expect(session.send(new Uint8Array(16))).toBe(SOCKET_ANSWER.DROPPED);
    const other = new HttpSession(host, '');
    other.end(CLOSE.SHUTDOWN.code, 'going');
    expect(other.over).toEqual({ code: 3000, reason: 'going', reconnect: true, retryAfterMs: 9_000 });
    const left = new HttpSession(host, '');
    left.leave();
    expect(left.over).toEqual({ code: 3509, reason: 'closed by the client', reconnect: false, retryAfterMs: 0 });
  });
});
