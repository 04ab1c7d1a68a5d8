import { expect, it } from 'vitest';
import { startHalley } from '../kit/index.js';
import { connectControls, fuzz } from './fuzzing.js';

it('survives 100,000 mutations of valid traffic in two rounds', {
  timeout: 300_000,
}, async () => {
  const halley = await startHalley();
  const controls = await connectControls(halley);
  for (const round of [1, 2]) {
    const seed = Number(process.env['TEST_SEED'] ?? Math.floor(Math.random() * 2 ** 31)) + round;
    process.stdout.write(`fuzz round ${round}: seed=${seed}\n`);
    process.stdout.write(`fuzz: ${await fuzz(halley, controls, 50_000, seed)}\n`);
  }
  for (const client of controls) await client.close();
  expect(await halley.stop()).toBe(0);
});
