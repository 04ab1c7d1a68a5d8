import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Mailbox } from './mailbox.js';

test('it behaves as a plain queue under any sequence of pushes and shifts', () => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { maxLength: 400 }), (pushes) => {
      const mailbox = new Mailbox({ capacity: 1000 });
      const model: number[] = [];
      let next = 1;
      for (const push of pushes) {
        if (push) {
          const letter =
            next % 2 === 0 ? { senderThread: 0, senderIncarnation: 1, senderId: next, askId: 0 } : undefined;
          mailbox.push(next, letter);
          model.push(next++);
        } else {
          const expected = model.shift();
          expect(mailbox.shift()).toBe(expected);
          if (expected !== undefined) expect(mailbox.letter?.senderId).toBe(expected % 2 === 0 ? expected : undefined);
        }
        expect(mailbox.length).toBe(model.length);
      }
    }),
  );
});

test('it is full at its capacity and not before', () => {
  const mailbox = new Mailbox({ capacity: 2 });
  mailbox.push(1, undefined);
  expect(mailbox.isFull).toBe(false);
  mailbox.push(2, undefined);
  expect(mailbox.isFull).toBe(true);
  mailbox.shift();
  expect(mailbox.isFull).toBe(false);
});
