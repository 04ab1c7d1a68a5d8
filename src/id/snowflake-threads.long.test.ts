import { vi } from 'vitest';
import { snowflakeThreadSuite } from './snowflake-threads.contract.js';

vi.setConfig({ testTimeout: 300_000 });
snowflakeThreadSuite({ drawsPerThread: 10_000_000, killCount: 100 });
