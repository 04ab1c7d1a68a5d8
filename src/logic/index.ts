/**
 * logic: who may connect, which node to connect to, and the HTTP API through which a backend pushes, counts and steers.
 *
 * Three rooms in one: `auth.ts` decides about auth packets and runs inside the buckets, one instance per thread (through the
 * `Authenticator` port of `push/`, since `comet` may not import this folder); `balancer.ts` and `nodes-reply.ts` are pure
 * functions; `http/` is the API's server on the control thread. logic pushes through `Pusher` and looks at the comet through
 * `CometPort`: it knows neither the queue nor the buckets.
 *
 * Who may call: `main.ts` wires all of it. Where the hot path starts: `HttpApi` for pushes, `Authenticator.authenticate` for
 * connects.
 */
export { type AuthOptions, createAuthenticator } from './auth.js';
export { type BalancerNode, currentWeight, MAX_RANKED_COUNT, type RankedNode, rankNodes } from './balancer.js';
export {
  API_CODE,
  type ApiCode,
  DEFAULT_CONNECT_SOURCES,
  HttpApi,
  type HttpApiDeps,
  type HttpGauges,
  routeTableMarkdown,
  type StaticPage,
} from './http/index.js';
export { instanceReply, type NodeDescription, nodeNames, weightedReply } from './nodes-reply.js';
export { LocalOnline } from './online-local.js';
