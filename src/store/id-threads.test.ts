import { idThreadSuite } from './id-threads.contract.js';

idThreadSuite({ drawsPerThread: 80_000 });
