import { describe, expect, it } from 'vitest';
import { LoopTopics } from './loop-topics.js';

describe('topics of sockets that uWS does not own', () => {
  const a = { name: 'a' };
  const b = { name: 'b' };
  const membersOf = (topics: LoopTopics<{ name: string }>, topic: string) =>
    [...(topics.membersOf(topic) ?? [])].map(({ name }) => name);

  it('count a subscription once, and know when there was none to end', () => {
    const topics = new LoopTopics<{ name: string }>();
    expect([topics.subscribe(a, 'x'), topics.subscribe(a, 'x'), topics.unsubscribe(a, 'x')]).toEqual([
      true,
      false,
      true,
    ]);
    expect([topics.unsubscribe(a, 'x'), topics.unsubscribe(b, 'y')]).toEqual([false, false]);
  });

  it('forget a topic with its last member, and a socket with everything it was in', () => {
    const topics = new LoopTopics<{ name: string }>();
    for (const topic of ['x', 'y']) for (const socket of [a, b]) topics.subscribe(socket, topic);
    topics.leaveAll(a);
    topics.leaveAll(a);
    expect([membersOf(topics, 'x'), membersOf(topics, 'y'), topics.topicCount]).toEqual([['b'], ['b'], 2]);
    topics.unsubscribe(b, 'x');
    topics.leaveAll(b);
    expect([topics.membersOf('x'), topics.topicCount]).toEqual([undefined, 0]);
  });

  it('may change inside a walk: who left is not visited', () => {
    const topics = new LoopTopics<{ name: string }>();
    topics.subscribe(a, 'x');
    topics.subscribe(b, 'x');
    const visited: string[] = [];
    for (const socket of topics.membersOf('x') ?? []) {
      visited.push(socket.name);
      topics.leaveAll(b);
    }
    expect(visited).toEqual(['a']);
  });
});
