import { idProcessSuite } from './id-processes.contract.js';

idProcessSuite({ drawsPerProcess: 40_000, killCount: 6, deadlineMs: 60_000 });
