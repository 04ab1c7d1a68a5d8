/**
 * How nodes that all hear the same commands (`PUBLISH halley:push`) agree on who appends them to a room with history: one node
 * at a time is the room's writer, and what it appended is recorded with the message, in one step. Adapter:
 * `store/redis/redis-history-ledger.ts`; who uses it: `job/history-intake.ts`.
 */
export interface LedgerEntry {
  /** Place in the record, `<ms>-<n>`; rises. */
  readonly entryId: string;
  /** Names the command, not the message: two commands of the same bytes have the same one. */
  readonly commandHash: string;
}

export interface LedgerAppend {
  readonly op: number;
  readonly body: Uint8Array;
  /** 8 bytes, big-endian. */
  readonly messageId: Uint8Array;
  readonly commandHash: string;
}

/** Everything rejects with HalleyError REDIS_AWAY where Redis does not answer; an append may have been carried out then. */
export interface PushLedger {
  /** How long the record goes back at least, in ms. */
  readonly windowMs: number;
  /**
   * Be the room's writer from now on: appends of any other are refused.
   * @returns what was recorded behind `afterId` ('' from the start), oldest first; at most `maxCount`
   */
  claim(room: string, writer: string, afterId: string, maxCount: number): Promise<readonly LedgerEntry[]>;
  /** The same without becoming the writer. */
  read(room: string, afterId: string, maxCount: number): Promise<readonly LedgerEntry[]>;
  /**
   * Number, keep, publish and record one message. Calls of one writer to one room are carried out in their order.
   * @returns its place in the record; undefined: another node is the writer, nothing was done
   */
  append(room: string, writer: string, push: LedgerAppend): Promise<string | undefined>;
}
