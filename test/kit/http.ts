/** Calls of the HTTP API, as a backend makes them. */
export interface ApiAnswer {
  readonly status: number;
  readonly code: number;
  readonly message: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into whatever a route answers
  readonly data: any;
  readonly headers: Headers;
}

async function call(url: string, init: RequestInit): Promise<ApiAnswer> {
  const response = await fetch(url, init);
  const text = await response.text();
  const json = text.startsWith('{') ? (JSON.parse(text) as Partial<ApiAnswer>) : { message: text };
  return {
    status: response.status,
    code: json.code ?? Number.NaN,
    message: json.message ?? '',
    data: json.data,
    headers: response.headers,
  };
}

/** POST with a raw body (pushes) or, given an object, with JSON. */
export function post(
  url: string,
  body: string | Uint8Array | object = '',
  headers: Record<string, string> = {},
): Promise<ApiAnswer> {
  const isJson = typeof body === 'object' && !(body instanceof Uint8Array);
  return call(url, {
    method: 'POST',
    body: isJson ? JSON.stringify(body) : (body as string),
    headers: isJson ? { 'content-type': 'application/json', ...headers } : headers,
  });
}

export function get(url: string, headers: Record<string, string> = {}): Promise<ApiAnswer> {
  return call(url, { headers });
}

/** Push to a room `type://id` by HTTP; throws unless it was accepted. */
export async function pushRoom(httpUrl: string, room: string, body: string, op = 1000): Promise<void> {
  const [type = '', id = ''] = room.split('://');
  const query = new URLSearchParams({ operation: String(op), type, room: id });
  const answer = await post(`${httpUrl}/goim/push/room?${query}`, body);
  if (answer.code !== 0) throw new Error(`push refused: ${answer.status} ${answer.code} ${answer.message}`);
}
