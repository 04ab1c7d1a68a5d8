import { idProcessSuite } from './id-processes.contract.js';

idProcessSuite({ drawsPerProcess: 3_000_000, killCount: 60, deadlineMs: 900_000 });
