import { vi } from 'vitest';
import { idThreadSuite } from './id-threads.contract.js';

vi.setConfig({ testTimeout: 900_000 });
idThreadSuite({ drawsPerThread: 10_000_000 });
