import { ringStress } from './ring-stress.contract.js';

ringStress(50);
