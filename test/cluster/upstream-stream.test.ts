import { upstreamStreamSuite } from './upstream-stream.contract.js';

upstreamStreamSuite('slot move');
