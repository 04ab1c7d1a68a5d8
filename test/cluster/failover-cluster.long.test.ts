import { clusterFailoverSuite } from './failover-cluster.contract.js';

clusterFailoverSuite([['the machine ids, with history', 'halley:mach', true]]);
