/**
 * Whose HTTP request this is: the client's address behind our proxies, or why it is refused. For WebSocket upgrades and for the
 * connect of the HTTP fallbacks.
 *
 * Threads: its bucket. uWS's request and response are read inside their handler only.
 */
import type { HttpRequest, HttpResponse } from 'uWebSockets.js';
import type { Admission } from './admission.js';
import type { Refusal } from './refusal.js';

const addressText = new TextDecoder('latin1');

/** The origin is not looked at here (`Admission.checkOrigin`). */
export function requestClient(admission: Admission, res: HttpResponse, req: HttpRequest): string | Refusal {
  const { forwardedHeader } = admission;
  return admission.clientOf(
    'http',
    addressText.decode(res.getRemoteAddressAsText()),
    admission.hasProxyHeader('http') ? addressText.decode(res.getProxiedRemoteAddressAsText()) : '',
    forwardedHeader === undefined ? '' : headerChain(req, forwardedHeader),
  );
}

/**
 * A header that came several times, joined as node:http joins it. getHeader() gives one of them only, and a proxy that adds a
 * line of its own stands behind the one that the client wrote.
 */
function headerChain(req: HttpRequest, name: string): string {
  let chain = '';
  req.forEach((key, value) => {
    if (key === name) chain = chain === '' ? value : `${chain},${value}`;
  });
  return chain;
}
