import type { PushCommand, PushOutcome, RefusalListener } from './push-command.js';

/**
 * The door for everyone who wants to push: HTTP API, Redis subscriber, actors, IM services.
 * `ok` means accepted: it will be handed to the comet in the order of the calls. It never throws and never waits.
 */
export interface Pusher {
  push(command: PushCommand, onRefused?: RefusalListener): PushOutcome;
}
