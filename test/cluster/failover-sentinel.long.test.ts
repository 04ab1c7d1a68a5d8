import { sentinelFailoverSuite } from './failover-sentinel.contract.js';

sentinelFailoverSuite(['history', 'replicas']);
