import { upstreamStreamSuite } from './upstream-stream.contract.js';

upstreamStreamSuite('dead master');
