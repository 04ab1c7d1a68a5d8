import { snowflakeThreadSuite } from './snowflake-threads.contract.js';

snowflakeThreadSuite({ drawsPerThread: 1_000_000, killCount: 12 });
