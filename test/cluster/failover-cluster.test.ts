import { clusterFailoverSuite } from './failover-cluster.contract.js';

clusterFailoverSuite([['the durable queue', 'halley:q:{0}', false]]);
