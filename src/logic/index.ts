/**
 * logic: who may connect, which node to connect to, and the HTTP API through which a backend pushes, counts and steers.
 *
 * Three rooms in one: `auth.ts` decides about auth packets and runs inside the buckets, one instance per thread (through the
 * `Authenticator` port of `push/`, since `comet` may not import this folder): a door of its own, so that no bucket loads the HTTP
 * API and what that needs (100 ms and 4 MiB of heap each); `balancer.ts` chooses nodes for clients, by
 * goim's rule (`balancer-rule.ts`) or one of ours (`balancer-orders.ts`), for a client whom `address/` and `regions.ts`
 * have placed; `http/` is the API's server on the control thread. logic pushes through `Pusher` and looks at the comet through
 * `CometPort`: it knows neither the queue nor the buckets.
 *
 * Who may call: `main.ts` wires all of it. Where the hot path starts: `HttpApi` for pushes, `Authenticator.authenticate` for
 * connects.
 */
export {
  Balancer,
  type BalancerOptions,
  NODE_ORDERS,
  type NodeOrder,
  type NodeSource,
  type PickedNode,
  type PickRequest,
  takesClients,
} from './balancer.js';
export { type BalancerNode, currentWeight, MAX_RANKED_COUNT, type RankedNode, rankNodes } from './balancer-rule.js';
export { DrainSwitch } from './drain-switch.js';
export { type GeoPoint, greatCircleKm, MAX_LATITUDE, MAX_LONGITUDE, parseDegrees } from './great-circle.js';
export {
  API_CODE,
  type ApiCode,
  ApiServer,
  type ApiServerOptions,
  DEFAULT_CONNECT_SOURCES,
  HttpApi,
  type HttpApiDeps,
  type HttpGauges,
  ID_SERVER_ROUTES,
  type IdServerServices,
  routeTableMarkdown,
  type StaticPage,
} from './http/index.js';
export * from './ids/index.js';
export {
  createNodeLookup,
  DEFAULT_LOOKUP,
  type NodeLookup,
  type NodeLookupOptions,
  type NodeLookupParts,
} from './node-lookup.js';
export { doorUrls, instanceReply, type NodeDescription, nodeNames, weightedReply } from './nodes-reply.js';
export { LocalOnline } from './online-local.js';
export { readAuthority } from './read-authority.js';
export { Regions } from './regions.js';
export { parseRegionFile, parseRegionList, parseRegionPlaces } from './regions-rules.js';
export * from './upstream/index.js';
