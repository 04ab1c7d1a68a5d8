/**
 * http: the HTTP API of the control thread: goim's routes to the byte, and ours beside them.
 *
 * The way of a request: `http-server.ts` takes it from node:http into the lane of its connection (`lane.ts`), where it waits for
 * its turn; `http-api.ts` finds its row in `routes.ts` (by `route.ts`), asks `access-guard.ts`, lets `exchange.ts` read
 * the body, and calls the row's handler (`goim-push.ts`, `goim-online.ts`, `node-routes.ts`, `batch-route.ts`, `session-routes.ts`,
 * `channel-routes.ts`, `ids-routes.ts`). A handler is a function from services and request to a `Reply` (`reply.ts`), plain data that
 * `exchange.ts` writes. goim's parameters are read by `binder.ts` over `query.ts`, with Go's error texts from `go-text.ts`;
 * our JSON bodies by `json-members.ts`, the query of a client that looks for a node by `node-query.ts`. node:http is touched in `http-server.ts`, `lane.ts` and `exchange.ts` only.
 *
 * Who may call: `logic/index.ts`.
 */
export { ApiServer, type ApiServerOptions, HttpApi, type HttpApiDeps, type HttpGauges } from './http-api.js';
export { API_CODE, type ApiCode } from './reply.js';
export { ID_SERVER_ROUTES, type IdServerServices, routeTableMarkdown } from './routes.js';
export { DEFAULT_CONNECT_SOURCES, type StaticPage } from './static-pages.js';
