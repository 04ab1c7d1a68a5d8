/**
 * The scenarios, one row each: what the connections do and how much of it.
 */
export type ScenarioName = 'room' | 'small-rooms' | 'keys' | 'connect' | 'idle' | 'echo';

export interface Scenario {
  readonly name: ScenarioName;
  /** The question it answers. */
  readonly question: string;
  readonly members: number;
  /** Connection i is in room i % roomCount; 0: in none. */
  readonly roomCount: number;
  /** One case per rate; messages (or echoes) per second in total. 0: nothing is published. */
  readonly ratesPerSec: readonly number[];
  /** How long is published, or how long the connections rest. */
  readonly seconds: number;
  /** True where a merge window says something: messages to rooms. */
  readonly isMergeable: boolean;
  readonly smoke: Pick<Scenario, 'members' | 'roomCount' | 'ratesPerSec' | 'seconds'>;
}

export const SCENARIOS: readonly Scenario[] = [
  {
    name: 'room',
    question: 'What does a message to one big room cost, and when does it arrive?',
    members: 2_000,
    roomCount: 1,
    ratesPerSec: [40, 400, 1_000],
    seconds: 5,
    isMergeable: true,
    smoke: { members: 60, roomCount: 1, ratesPerSec: [200], seconds: 0.5 },
  },
  {
    name: 'small-rooms',
    question: 'What do many small rooms cost, where hardly anything can be merged?',
    members: 2_000,
    roomCount: 200,
    ratesPerSec: [2_000],
    seconds: 5,
    isMergeable: true,
    smoke: { members: 60, roomCount: 6, ratesPerSec: [200], seconds: 0.5 },
  },
  {
    name: 'keys',
    question: 'What does a push to one device cost?',
    members: 2_000,
    roomCount: 0,
    ratesPerSec: [10_000],
    seconds: 5,
    isMergeable: false,
    smoke: { members: 60, roomCount: 0, ratesPerSec: [200], seconds: 0.5 },
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
    smoke: { members: 200, roomCount: 10, ratesPerSec: [0], seconds: 0.5 },
  },
  {
    name: 'echo',
    question: 'What does a message up to the application and its answer cost?',
    members: 1_000,
    roomCount: 0,
    ratesPerSec: [20_000],
    seconds: 5,
    isMergeable: false,
    smoke: { members: 60, roomCount: 0, ratesPerSec: [200], seconds: 0.5 },
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
}

/** "room 2000 x 400/s" */
export function caseTitle({ scenario, members, roomCount, ratePerSec }: BenchCase): string {
  const rooms = roomCount > 1 ? `, ${roomCount} rooms` : '';
  return `${scenario} ${members}${rooms}${ratePerSec > 0 ? `, ${ratePerSec}/s` : ''}`;
}
