/**
 * tls: certificates, from the files of the operator to the doors.
 *
 * On the control thread `TlsFiles` reads and checks them and makes a `TlsSet`, which travels to the buckets with their options
 * and again with each reload. A door takes it as it stands (uWebSockets.js reads files) or through `TlsContexts` (node:tls).
 *
 * Every bucket loads these files; node:tls, 310 KiB of its heap, is loaded where a certificate is, by getBuiltinModule().
 *
 * Who may call: `cli/` makes the sets, the doors of `bucket/` use them.
 */
export {
  type CertificateOptions,
  type CertificatePaths,
  type CheckedCertificate,
  readCertificate,
} from './read-certificate.js';
export { TlsContexts } from './tls-contexts.js';
export { type LoadedCertificate, type NamedPaths, TlsFiles, type TlsFilesOptions } from './tls-files.js';
export type { TlsCertificate, TlsMinVersion, TlsSet } from './tls-set.js';
