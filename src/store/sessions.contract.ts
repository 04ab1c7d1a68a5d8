/**
 * The contract of `SessionStore`: one suite, run on every adapter.
 */
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Session, SessionStore } from '../push/index.js';

/** A session with sensible values; tests override what matters to them. */
export function sessionOf(overrides: Partial<Session>): Session {
  return {
    key: 'device-1',
    mid: 7,
    serverId: 'node-a',
    nodeEpoch: 1,
    bucket: 1,
    connId: 1,
    platform: 'web',
    remoteIp: '127.0.0.1',
    sinceMs: 1_700_000_000_000,
    ...overrides,
  };
}

/** @param runCount random histories; fewer where each step is a round trip */
export function sessionStoreContract(name: string, create: () => Promise<SessionStore>, runCount = 200): void {
  describe(`${name} keeps the session contract`, () => {
    let store: SessionStore;
    beforeEach(async () => {
      store = await create();
    });

    it('finds a stored session by key and by user', async () => {
      const session = sessionOf({});
      expect(await store.put(session)).toEqual({ status: 'stored', previous: undefined });
      expect(await store.byKeys(['device-1', 'nobody'])).toEqual([session, undefined]);
      expect(await store.byMids([7, 8])).toEqual([session]);
      expect(await store.count()).toBe(1);
    });

    it('names the previous owner when the same user takes a key over', async () => {
      const old = sessionOf({ connId: 1 });
      const fresh = sessionOf({ connId: 2, bucket: 2 });
      await store.put(old);
      expect(await store.put(fresh)).toEqual({ status: 'stored', previous: old });
      expect(await store.byKeys(['device-1'])).toEqual([fresh]);
      expect(await store.byMids([7])).toEqual([fresh]);
    });

    it('refuses a key that belongs to another user and leaves that user untouched', async () => {
      const owner = sessionOf({});
      await store.put(owner);
      expect(await store.put(sessionOf({ mid: 8, connId: 2 }))).toEqual({ status: 'foreign', ownerMid: 7 });
      expect(await store.byKeys(['device-1'])).toEqual([owner]);
      expect(await store.byMids([8])).toEqual([]);
    });

    // W2 of goim: the old connection's disconnect deleted the mapping that the new connection owned.
    it('does not let an old connection remove the session of the new one', async () => {
      const old = sessionOf({ connId: 1 });
      const fresh = sessionOf({ connId: 2 });
      await store.put(old);
      await store.put(fresh);
      expect(await store.remove(old)).toBeUndefined();
      expect(await store.byKeys(['device-1'])).toEqual([fresh]);
      expect(await store.remove(fresh)).toEqual(fresh);
      expect(await store.count()).toBe(0);
      expect(await store.byMids([7])).toEqual([]);
    });

    it('keeps every device of a user and lists a user asked for twice once', async () => {
      const sessions = ['phone', 'tablet', 'laptop'].map((key, index) => sessionOf({ key, connId: index + 1 }));
      for (const session of sessions) await store.put(session);
      expect(new Set((await store.byMids([7, 7])).map((session) => session.key))).toEqual(
        new Set(['phone', 'tablet', 'laptop']),
      );
      expect((await store.byMids([7, 7])).length).toBe(3);
      await store.remove(sessions[1]!);
      expect((await store.byMids([7])).map((session) => session.key).sort()).toEqual(['laptop', 'phone']);
    });

    it('keeps a session without a user reachable by key only', async () => {
      await store.put(sessionOf({ mid: 0 }));
      expect(await store.byMids([0])).toEqual([]);
      expect((await store.byKeys(['device-1']))[0]?.mid).toBe(0);
    });

    it('finds what a client made up, braces, percent signs, patterns and line ends included', async () => {
      const keys = ['{a}', 'a%7D', '}{', '*', '[a-z]?', 'line\nend', 'u:{7}', '', 'ü 😀', '"],["'];
      const sessions = keys.map((key, index) => sessionOf({ key, connId: index + 1, platform: key }));
      for (const session of sessions) await store.put(session);
      expect(await store.byKeys(keys)).toEqual(sessions);
      expect(new Set((await store.byMids([7])).map(({ key }) => key))).toEqual(new Set(keys));
      expect(await store.count()).toBe(keys.length);
      for (const session of sessions) expect(await store.remove(session)).toEqual(session);
      expect(await store.byMids([7])).toEqual([]);
    });

    it('keeps numbers beyond 14 digits as they are', async () => {
      const mid = Number.MAX_SAFE_INTEGER;
      const session = sessionOf({ mid, connId: mid - 1, nodeEpoch: mid - 2 });
      await store.put(session);
      expect([await store.byKeys(['device-1']), await store.byMids([mid])]).toEqual([[session], [session]]);
      expect(await store.remove({ ...session, connId: mid - 3 })).toBeUndefined();
      expect(await store.remove(session)).toEqual(session);
      expect(await store.byMids([mid])).toEqual([]);
    });

    it('removes the sessions of one bucket of one incarnation and no others', async () => {
      await store.put(sessionOf({ key: 'a', bucket: 1, connId: 1 }));
      await store.put(sessionOf({ key: 'b', bucket: 2, connId: 1 }));
      await store.put(sessionOf({ key: 'c', bucket: 1, connId: 2, nodeEpoch: 2 }));
      const removed = await store.removeBucket('node-a', 1, 1);
      expect(removed.map((session) => session.key)).toEqual(['a']);
      expect((await store.byKeys(['a', 'b', 'c'])).map((session) => session?.key)).toEqual([undefined, 'b', 'c']);
    });

    it('agrees with a naive model over random connects, takeovers and disconnects', async () => {
      const step = fc.record({
        put: fc.boolean(),
        key: fc.constantFrom('k1', 'k2', 'k3'),
        mid: fc.constantFrom(0, 1, 2),
        connId: fc.integer({ min: 1, max: 6 }),
      });
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
          const subject = await create();
          const model = new Map<string, Session>();
          for (const { put, key, mid, connId } of steps) {
            const session = sessionOf({ key, mid, connId });
            const held = model.get(key);
            if (put) {
              const result = await subject.put(session);
              expect(result.status).toBe(held !== undefined && held.mid !== mid ? 'foreign' : 'stored');
              if (result.status === 'stored') model.set(key, session);
            } else {
              const removed = await subject.remove(session);
              expect(removed).toEqual(held?.connId === connId ? held : undefined);
              if (held?.connId === connId) model.delete(key);
            }
          }
          expect(await subject.count()).toBe(model.size);
          for (const mid of [1, 2]) {
            const expected = [...model.values()].filter((session) => session.mid === mid).map((session) => session.key);
            expect((await subject.byMids([mid])).map((session) => session.key).sort()).toEqual(expected.sort());
          }
        }),
        { numRuns: runCount },
      );
    });
  });
}
