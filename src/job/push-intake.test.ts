import { describe, expect, it } from 'vitest';
import { encodePushCommand } from '../protocol/index.js';
import type { PushCommand } from '../push/index.js';
import { PushIntake, shareOf } from './push-intake.js';

function setUp(liveNodeCount = 1) {
  const pushed: PushCommand[] = [];
  const kept: string[][] = [];
  const errors: string[] = [];
  const intake = new PushIntake(1_000, {
    inlet: { push: (command) => void pushed.push(command) },
    errors: { report: (_, error) => void errors.push(error) },
    liveNodeCount: () => liveNodeCount,
    history: {
      hasHistory: (room) => room.startsWith('kept://'),
      take: (room, op, body, hash) => void kept.push([room, `${op}`, new TextDecoder().decode(body), hash]),
      missed: () => {},
    },
  });
  const take = (text: string) => intake.take(new TextEncoder().encode(text));
  return { intake, pushed, kept, errors, take };
}

describe('the intake of pushes', () => {
  it('delivers commands in JSON and MessagePack in the order of arrival', () => {
    const { intake, pushed, take } = setUp();
    take('{"room":"live://1","op":1000,"body":"hi"}');
    take('{"mids":[7,"8"],"op":1000,"body":"x"}');
    intake.take(
      encodePushCommand('msgpack', { target: { kind: 'keys', keys: ['k'] }, op: 5, body: new Uint8Array(2), speed: 0 }),
    );
    expect(pushed).toEqual([
      { target: { kind: 'rooms', rooms: ['live://1'] }, op: 1000, body: new TextEncoder().encode('hi') },
      { target: { kind: 'mids', mids: [7, 8] }, op: 1000, body: new TextEncoder().encode('x') },
      { target: { kind: 'keys', keys: ['k'] }, op: 5, body: new Uint8Array(2) },
    ]);
    expect(intake.gauges()).toEqual({ acceptedCount: 3, refusedCount: 0 });
  });

  it('gives this node its share of a speed', () => {
    const { pushed, take } = setUp(4);
    take('{"all":true,"op":1,"body":"","speed":100}');
    take('{"all":true,"op":1,"body":""}');
    expect(pushed.map(({ target }) => target)).toEqual([
      { kind: 'all', speedPerSec: 25 },
      { kind: 'all', speedPerSec: 0 },
    ]);
    expect([shareOf(1, 4), shareOf(5, 0), shareOf(0, 4)]).toEqual([1, 5, 0]);
  });

  it('reports a bad command and delivers nothing of it, and takes a body as large as it may be in base64', () => {
    const { intake, pushed, errors, take } = setUp();
    take('{"rooom":"live://1","op":1000,"body":"hi"}');
    take('nonsense');
    take(`{"all":true,"op":1,"body":"${'x'.repeat(1_001)}"}`);
    expect(pushed).toEqual([]);
    expect(errors).toHaveLength(3);
    take(`{"all":true,"op":1,"body_base64":"${Buffer.alloc(1_000).toString('base64')}"}`);
    expect([pushed.length, intake.gauges().refusedCount]).toEqual([1, 3]);
  });

  it('gives rooms with history to their intake, once each and under the name of the command, and only those', () => {
    const { pushed, kept, take } = setUp();
    take('{"rooms":["kept://1","live://1","kept://1","kept://2"],"op":7,"body":"both"}');
    take('{"room":"kept://1","op":7,"body":"one"}');
    take('{"room":"kept://1","op":7,"body":"one"}');
    expect(pushed.map(({ target }) => target)).toEqual([{ kind: 'rooms', rooms: ['live://1'] }]);
    expect(kept.map(([room, op, body]) => `${room} ${op} ${body}`)).toEqual([
      'kept://1 7 both',
      'kept://2 7 both',
      'kept://1 7 one',
      'kept://1 7 one',
    ]);
    const [first, second, third, fourth] = kept.map(([, , , hash]) => hash);
    expect([first === second, first === third, third === fourth, first?.length]).toEqual([true, false, true, 8]);
  });
});
