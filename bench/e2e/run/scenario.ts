/**
 * The scenarios, one row each: what the connections do and how much of it.
 */
export type ScenarioName = 'room' | 'big-room' | 'small-rooms' | 'keys' | 'connect' | 'idle' | 'echo' | 'nodes';

export interface ScenarioSize {
  /** Connections, of each node where there are several. */
  readonly members: number;
  /** Connection i is in room i % roomCount; 0: in none. */
  readonly roomCount: number;
  /** One case per rate; messages (or echoes) per second in total. 0: nothing is published. */
  readonly ratesPerSec: readonly number[];
  /** How long is published, or how long the connections rest. */
  readonly seconds: number;
  /** Joins and leaves per second, by connections beside the members. */
  readonly churnPerSec?: number;
  /** Server processes, each fed alike and at the same time. */
  readonly nodeCount?: number;
}

export interface Scenario extends ScenarioSize {
  readonly name: ScenarioName;
  /** The question it answers. */
  readonly question: string;
  /** True where a merge window says something: messages to rooms. */
  readonly isMergeable: boolean;
  /** True: takes all of a machine, so it runs only where it is named. */
  readonly isOnDemand?: boolean;
  readonly smoke: ScenarioSize;
}

export const SCENARIOS: readonly Scenario[] = [
  {
    name: 'room',
    question: 'What does a message to one big room cost, and when does it arrive?',
    members: 2_000,
    roomCount: 1,
    ratesPerSec: [1, 40, 400, 1_000],
    seconds: 5,
    isMergeable: true,
    // Longer than the id.mark_ahead_ms of a smoke: ids must go on past it.
    smoke: { members: 60, roomCount: 1, ratesPerSec: [200], seconds: 0.9 },
  },
  {
    name: 'big-room',
    question: 'How does the cost of a room grow with its members?',
    members: 15_000,
    roomCount: 1,
    ratesPerSec: [1, 40, 400, 1_000],
    seconds: 5,
    isMergeable: true,
    smoke: { members: 300, roomCount: 1, ratesPerSec: [40], seconds: 0.3 },
  },
  {
    name: 'small-rooms',
    question: 'What do many small rooms cost, where hardly anything can be merged?',
    members: 2_000,
    roomCount: 200,
    ratesPerSec: [2_000],
    seconds: 5,
    isMergeable: true,
    smoke: { members: 60, roomCount: 6, ratesPerSec: [200], seconds: 0.5, churnPerSec: 100 },
  },
  {
    name: 'keys',
    question: 'What does a push to one device cost?',
    members: 2_000,
    roomCount: 0,
    ratesPerSec: [10_000],
    seconds: 5,
    isMergeable: false,
    smoke: { members: 60, roomCount: 0, ratesPerSec: [600], seconds: 0.3 },
  },
  {
    name: 'connect',
    question: 'What do connect, auth and join cost when everyone comes at once?',
    members: 10_000,
    roomCount: 100,
    ratesPerSec: [0],
    seconds: 0,
    isMergeable: false,
    smoke: { members: 200, roomCount: 10, ratesPerSec: [0], seconds: 0 },
  },
  {
    name: 'idle',
    question: 'What does a connection weigh that only sends heartbeats?',
    members: 15_000,
    roomCount: 1_500,
    ratesPerSec: [0],
    seconds: 30,
    isMergeable: false,
    smoke: { members: 200, roomCount: 10, ratesPerSec: [0], seconds: 0.3 },
  },
  {
    name: 'echo',
    question: 'What does a message up to the application and its answer cost?',
    members: 1_000,
    roomCount: 0,
    ratesPerSec: [20_000],
    seconds: 5,
    isMergeable: false,
    smoke: { members: 60, roomCount: 0, ratesPerSec: [600], seconds: 0.3 },
  },
  {
    name: 'nodes',
    question: 'What do several nodes on one machine hold, and how long does a push to everyone take?',
    members: 15_000,
    roomCount: 1,
    ratesPerSec: [0.2],
    seconds: 20,
    isMergeable: false,
    isOnDemand: true,
    nodeCount: 8,
    smoke: { members: 50, roomCount: 1, ratesPerSec: [10], seconds: 0.3, nodeCount: 2 },
  },
];

/** One thing to measure on every server: a scenario at one rate. */
export interface BenchCase {
  readonly scenario: ScenarioName;
  readonly question: string;
  readonly isMergeable: boolean;
  readonly members: number;
  readonly roomCount: number;
  readonly ratePerSec: number;
  readonly seconds: number;
  readonly churnPerSec: number;
  readonly nodeCount: number;
}

/** "room 2000, 400/s" */
export function caseTitle({ scenario, members, roomCount, ratePerSec, churnPerSec, nodeCount }: BenchCase): string {
  const nodes = nodeCount > 1 ? `${nodeCount} x ` : '';
  const rooms = roomCount > 1 ? `, ${roomCount} rooms` : '';
  const rate = ratePerSec > 0 ? `, ${ratePerSec}/s` : '';
  const churn = churnPerSec > 0 ? `, churn ${churnPerSec}/s` : '';
  return `${scenario} ${nodes}${members}${rooms}${rate}${churn}`;
}
