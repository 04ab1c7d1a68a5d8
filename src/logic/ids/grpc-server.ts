/**
 * The id service by gRPC: `halley.ids.v1.Ids` of ids.proto.
 *
 * Threads: the control thread. The library is loaded with `listen`, so that buckets and nodes without the service do not carry it.
 * Guarantees: with a token no call is answered without it. A stream sends no faster than its client reads: at most one batch waits.
 *   `close` refuses new calls, lets unary calls end, ends streams behind the batch they are at with UNAVAILABLE, and after its time
 *   cuts off what is left.
 */
import { fileURLToPath } from 'node:url';
import type * as Grpc from '@grpc/grpc-js';
import { HalleyError } from '../../errors/index.js';
import { AccessGuard } from '../http/access-guard.js';
import type { IdReading } from './id-decoder.js';
import { type IdFailure, idFailureOf, idFailureText } from './id-failure.js';
import type { IdBatch, IdService } from './id-service.js';

export interface IdGrpcOptions {
  /** Undefined: no token is needed. */
  readonly token: string | undefined;
  /** How long a client may take to read one batch of a stream. Default 60,000. */
  readonly stallMs?: number;
  /** A defect of ours: the client got INTERNAL. */
  readonly onDefect: (error: unknown, where: string) => void;
}

interface NextMessage {
  readonly scheme: string;
  readonly biz: string;
  readonly count: number;
}
interface StreamMessage {
  readonly scheme: string;
  readonly biz: string;
  readonly batch_count: number;
  readonly total_count: string;
}
interface DecodeMessage {
  readonly id: string;
  readonly scheme: string;
  readonly biz: string;
}
type Unary<Message> = Grpc.ServerUnaryCall<Message, object>;
type StreamCall = Grpc.ServerWritableStream<StreamMessage, IdBatch>;

const SERVICE = 'halley.ids.v1.Ids';
const MAX_REQUEST_BYTES = 16_384;
const DEFAULT_STALL_MS = 60_000;
const DEFAULT_BATCH_COUNT = 100;
const DEFAULT_SCHEME = 'segment';

const STATUS_BY_FAILURE = {
  invalid: 'INVALID_ARGUMENT',
  unknown: 'NOT_FOUND',
  exhausted: 'RESOURCE_EXHAUSTED',
  busy: 'RESOURCE_EXHAUSTED',
  away: 'UNAVAILABLE',
  refused: 'FAILED_PRECONDITION',
} as const satisfies Record<IdFailure, keyof typeof Grpc.status>;

export class IdGrpcServer {
  readonly #service: IdService;
  readonly #options: IdGrpcOptions;
  readonly #grpc: typeof Grpc;
  readonly #server: Grpc.Server;
  readonly #guard: AccessGuard;
  readonly #stallMs: number;
  #isClosing = false;
  #stalledCount = 0;

  private constructor(service: IdService, options: IdGrpcOptions, grpc: typeof Grpc, host: string) {
    this.#service = service;
    this.#options = options;
    this.#grpc = grpc;
    this.#guard = new AccessGuard(options.token, host);
    this.#stallMs = options.stallMs ?? DEFAULT_STALL_MS;
    this.#server = new grpc.Server({ 'grpc.max_receive_message_length': MAX_REQUEST_BYTES });
  }

  /**
   * @param port 0: a free one
   * @throws HalleyError GRPC_PORT_UNUSABLE
   */
  static async listen(
    service: IdService,
    host: string,
    port: number,
    options: IdGrpcOptions,
  ): Promise<{ readonly server: IdGrpcServer; readonly port: number }> {
    const grpc = await import('@grpc/grpc-js');
    const server = new IdGrpcServer(service, options, grpc, host);
    server.#server.addService(await loadIdsDefinition(), {
      Next: server.#unary('Next', ({ scheme, biz, count }: NextMessage) =>
        service.next({ scheme: scheme || DEFAULT_SCHEME, biz, count: count || 1 }),
      ),
      Decode: server.#unary('Decode', ({ id, scheme, biz }: DecodeMessage) => ({
        readings: service.decode(id, scheme || undefined, biz || undefined).map(readingMessage),
      })),
      Stream: (call: StreamCall) => void server.#stream(call),
    });
    const place = `${host.includes(':') ? `[${host}]` : host}:${port}`;
    return new Promise((resolve, reject) => {
      server.#server.bindAsync(place, grpc.ServerCredentials.createInsecure(), (error, boundPort) => {
        if (error === null) resolve({ server, port: boundPort });
        else {
          const sentence = 'the gRPC port must be free to listen on (option ids.grpc_port)';
          reject(new HalleyError('GRPC_PORT_UNUSABLE', sentence, { host, port }, error));
        }
      });
    });
  }

  /** Streams that were cut off because their client did not read. */
  get stalledCount(): number {
    return this.#stalledCount;
  }

  /** Resolves true where nothing had to be cut off. */
  async close(timeoutMs: number): Promise<boolean> {
    this.#isClosing = true;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<boolean>((resolve) => {
      timer = setTimeout(() => resolve(false), timeoutMs);
    });
    const ended = new Promise<boolean>((resolve) => this.#server.tryShutdown((error) => resolve(error === undefined)));
    const isClean = await Promise.race([ended, late]);
    clearTimeout(timer);
    if (!isClean) this.#server.forceShutdown();
    return isClean;
  }

  #unary<Message, Reply extends object>(where: string, answer: (message: Message) => Reply | Promise<Reply>) {
    return (call: Unary<Message>, callback: Grpc.sendUnaryData<object>): void => {
      const refusal = this.#refusal(call.metadata);
      if (refusal !== undefined) {
        callback(refusal);
        return;
      }
      void (async () => answer(call.request))().then(
        (reply) => callback(null, reply),
        (error: unknown) => callback(this.#statusOf(error, where)),
      );
    };
  }

  async #stream(call: StreamCall): Promise<void> {
    const refusal = this.#refusal(call.metadata);
    if (refusal !== undefined) {
      call.emit('error', refusal);
      return;
    }
    const { scheme, biz, batch_count: wantedCount, total_count: total } = call.request;
    const batchCount = wantedCount || DEFAULT_BATCH_COUNT;
    let leftCount = Number(total) || Number.POSITIVE_INFINITY;
    try {
      while (leftCount > 0 && !call.cancelled) {
        if (this.#isClosing) throw new HalleyError('ID_SERVICE_CLOSED', 'the id service is shutting down');
        const count = Math.min(batchCount, leftCount);
        const batch = await this.#service.next({ scheme: scheme || DEFAULT_SCHEME, biz, count });
        leftCount -= batch.ids.length;
        if (!call.cancelled && !call.write(batch)) await this.#drained(call);
      }
      call.end();
    } catch (error) {
      if (!call.cancelled) call.emit('error', this.#statusOf(error, 'Stream'));
    }
  }

  /** Resolves when the client has read, or is gone. A client that does neither is cut off: its call would stay for ever. */
  #drained(call: StreamCall): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        settle();
        this.#stalledCount++;
        reject(
          new HalleyError('ID_STREAM_STALLED', `a client reads each batch within ${this.#stallMs} ms`, {
            peer: call.getPeer(),
          }),
        );
      }, this.#stallMs);
      const done = (): void => {
        settle();
        resolve();
      };
      const settle = (): void => {
        clearTimeout(timer);
        for (const event of ['drain', 'cancelled', 'close', 'error']) call.off(event, done);
      };
      for (const event of ['drain', 'cancelled', 'close', 'error']) call.once(event, done);
    });
  }

  #refusal(metadata: Grpc.Metadata): Partial<Grpc.StatusObject> | undefined {
    const [authorization = ''] = metadata.get('authorization');
    const refused = this.#guard.refusal(false, { authorization: String(authorization), origin: '', host: '' });
    if (refused === undefined) return undefined;
    return this.#status('UNAUTHENTICATED', 'this call needs the metadata "authorization: Bearer <API token>"', '');
  }

  #statusOf(error: unknown, where: string): Partial<Grpc.StatusObject> {
    const code = error instanceof HalleyError ? error.code : '';
    if (code === 'ID_STREAM_STALLED') return this.#status('DEADLINE_EXCEEDED', idFailureText(error), code);
    const failure = idFailureOf(error);
    if (failure === undefined) this.#options.onDefect(error, where);
    return this.#status(failure === undefined ? 'INTERNAL' : STATUS_BY_FAILURE[failure], idFailureText(error), code);
  }

  #status(name: keyof typeof Grpc.status, details: string, reason: string): Partial<Grpc.StatusObject> {
    const metadata = new this.#grpc.Metadata();
    if (reason !== '') metadata.set('halley-code', reason);
    return { code: this.#grpc.status[name], details, metadata };
  }
}

/** The service as gRPC's library wants it, for servers and clients. */
export async function loadIdsDefinition(): Promise<Grpc.ServiceDefinition> {
  const { load } = await import('@grpc/proto-loader');
  const path = fileURLToPath(new URL('./ids.proto', import.meta.url));
  const definition = await load(path, { keepCase: true, longs: String, defaults: true, oneofs: true });
  return definition[SERVICE] as Grpc.ServiceDefinition;
}

/** Members that an id does not hold are absent. */
function readingMessage({ timestampMs, machineId, ...reading }: IdReading): object {
  return {
    ...reading,
    ...(timestampMs === undefined ? {} : { timestamp_ms: timestampMs }),
    ...(machineId === undefined ? {} : { machine_id: machineId }),
  };
}
