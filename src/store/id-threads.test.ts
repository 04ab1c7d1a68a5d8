import { idThreadSuite } from './id-threads.contract.js';

idThreadSuite({ drawsPerThread: 200_000 });
