import { slotMoveSuite } from './slot-move.contract.js';

slotMoveSuite([['without history', {}]]);
