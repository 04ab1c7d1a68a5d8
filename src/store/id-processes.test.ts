import { idProcessSuite } from './id-processes.contract.js';

idProcessSuite({ drawsPerProcess: 8_000, killCount: 3, deadlineMs: 60_000 });
