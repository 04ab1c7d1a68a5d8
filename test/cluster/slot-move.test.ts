import { slotMoveSuite } from './slot-move.contract.js';

slotMoveSuite([['with history', { HALLEY_HISTORY_ROOMS: 'live:2000:300' }]]);
