import { sentinelFailoverSuite } from './failover-sentinel.contract.js';

sentinelFailoverSuite(['plain']);
