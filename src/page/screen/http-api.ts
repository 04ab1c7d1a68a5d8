/**
 * The node's HTTP API as this page uses it: where to connect, and pushes.
 */
import type { PushRequest } from '../push-request.js';

/** Where a node listens for WebSockets unless it says otherwise. */
const DEFAULT_WS_PORT = 3102;
/** Requests under way at once; a browser opens six connections to one host. */
const PARALLEL_COUNT = 6;

export interface PushResult {
  /** HTTP status of the worst answer. */
  readonly status: number;
  /** `code` of that answer; undefined where it was not goim's envelope. */
  readonly code: number | undefined;
  readonly message: string;
  readonly acceptedCount: number;
  readonly tookMs: number;
}

/** The WebSocket address of this node, as `nodes/weighted` names its port; the usual port where it does not say. */
export async function findWebSocketUrl(page: Location): Promise<string> {
  const isSecure = page.protocol === 'https:';
  const ports = await webSocketPorts();
  const port = isSecure ? (ports.wss ?? ports.ws) : ports.ws;
  return `${isSecure ? 'wss' : 'ws'}://${page.hostname}:${port ?? DEFAULT_WS_PORT}/sub`;
}

interface Ports {
  readonly ws: number | undefined;
  readonly wss: number | undefined;
}

async function webSocketPorts(): Promise<Ports> {
  try {
    const response = await fetch('goim/nodes/weighted?platform=web');
    const envelope = membersOf(await response.json());
    const data = membersOf(envelope['data']);
    return { ws: numberOr(data['ws_port']), wss: numberOr(data['wss_port']) };
  } catch {
    // No answer, or none that is JSON: the usual port is as good a guess as any.
    return { ws: undefined, wss: undefined };
  }
}

/** POST the push as often as it says. The first refusal ends it. */
export async function sendPush(request: PushRequest, apiToken: string): Promise<PushResult> {
  const startedMs = performance.now();
  const headers = apiToken === '' ? {} : { Authorization: `Bearer ${apiToken}` };
  let leftCount = request.timesCount;
  let acceptedCount = 0;
  let last: Omit<PushResult, 'acceptedCount' | 'tookMs'> = { status: 0, code: undefined, message: '' };
  const worker = async () => {
    while (leftCount > 0) {
      leftCount -= 1;
      const answer = await postOnce(request, headers);
      if (answer.code === 0) acceptedCount += 1;
      else leftCount = 0;
      if (last.status === 0 || answer.code !== 0) last = answer;
    }
  };
  await Promise.all(Array.from({ length: Math.min(PARALLEL_COUNT, leftCount) }, worker));
  return { ...last, acceptedCount, tookMs: performance.now() - startedMs };
}

async function postOnce(
  { path, body }: PushRequest,
  headers: Readonly<Record<string, string>>,
): Promise<Omit<PushResult, 'acceptedCount' | 'tookMs'>> {
  try {
    const response = await fetch(path, { method: 'POST', body, headers });
    const text = await response.text();
    const envelope = membersOf(parsed(text));
    const message = typeof envelope['message'] === 'string' ? envelope['message'] : text.slice(0, 200);
    return { status: response.status, code: numberOr(envelope['code']), message };
  } catch (error) {
    return { status: 0, code: undefined, message: error instanceof Error ? error.message : String(error) };
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // A proxy's page, for example; the caller shows the text.
    return undefined;
  }
}

function membersOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function numberOr(value: unknown): number | undefined {
  return typeof value === 'number' ? value : undefined;
}
