/**
 * ids: numbers for an application's own records, given out by HTTP and gRPC.
 *
 * `id-service.ts` has the schemes by name and a generator per tag; `tag-counter.ts` keeps a tag's step and maximum in the store;
 * `machine-ids.ts` claims the machine ids of the schemes that need one; `id-decoder.ts` takes ids apart; `id-failure.ts` says what kind
 * of failure an error is. `grpc-server.ts` serves `ids.proto`; the HTTP routes stand in `../http/ids-routes.ts`.
 *
 * Who may call: `cli/ids-wiring.ts` makes the service. The generators themselves are in `id/`, stores in `store/`.
 */
export { type IdGrpcOptions, IdGrpcServer, loadIdsDefinition } from './grpc-server.js';
export { IdDecoder, type IdDecoderOptions, type IdReading } from './id-decoder.js';
export { type IdFailure, idFailureOf, idFailureText } from './id-failure.js';
export { type IdBatch, type IdRequest, IdService, type IdServiceOptions, type IdServiceParts } from './id-service.js';
