/** An authority for tests and the certificates it signs, made by openssl. */
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface CertificateFiles {
  readonly certFile: string;
  readonly keyFile: string;
}

export interface CertificateOptions {
  /** `DNS:` and `IP:` names. */
  readonly names: readonly string[];
  /** When it ends, as openssl writes it: 20200101000000Z. Default: in two days. */
  readonly notAfter?: string;
}

export interface Authority {
  readonly caFile: string;
  /** A key and its certificate for a server; `CN` is the name of the files too. */
  issue(commonName: string, options: CertificateOptions): Promise<CertificateFiles>;
}

const EC_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

/** @param dir where its files and those of its certificates are kept */
export async function makeAuthority(dir: string): Promise<Authority> {
  const [caFile, caKeyFile] = [join(dir, 'ca.crt'), join(dir, 'ca.key')];
  const self = ['-x509', ...EC_KEY, '-days', '2', '-keyout', caKeyFile, '-out', caFile, '-subj', '/CN=halley test CA'];
  await run('openssl', ['req', ...self]);
  return {
    caFile,
    issue: async (commonName, { names, notAfter }) => {
      const [certFile, keyFile] = [join(dir, `${commonName}.crt`), join(dir, `${commonName}.key`)];
      const more = ['-addext', `subjectAltName=${names.join(',')}`, '-addext', 'basicConstraints=CA:FALSE'];
      const subject = ['-keyout', keyFile, '-subj', `/CN=${commonName}`];
      if (notAfter === undefined) {
        const signed = ['-x509', '-CA', caFile, '-CAkey', caKeyFile, '-days', '2', ...EC_KEY, ...subject];
        await run('openssl', ['req', ...signed, ...more, '-out', certFile]);
        return { certFile, keyFile };
      }
      // Only `openssl ca` of OpenSSL 3.0 takes an end; it wants a database.
      const request = join(dir, `${commonName}.csr`);
      await run('openssl', ['req', '-new', ...EC_KEY, ...subject, ...more, '-out', request]);
      await writeDatabase(dir);
      const dates = ['-startdate', '20190101000000Z', '-enddate', notAfter];
      const signing = ['-cert', caFile, '-keyfile', caKeyFile, '-in', request, '-out', certFile, '-notext', '-batch'];
      await run('openssl', ['ca', '-config', join(dir, 'ca.cnf'), '-create_serial', ...signing, ...dates]);
      return { certFile, keyFile };
    },
  };
}

/** As they are made for development: its own authority. */
export async function makeSelfSigned(
  dir: string,
  commonName: string,
  names: readonly string[],
): Promise<CertificateFiles> {
  const [certFile, keyFile] = [join(dir, `${commonName}.crt`), join(dir, `${commonName}.key`)];
  const files = ['-keyout', keyFile, '-out', certFile, '-subj', `/CN=${commonName}`];
  await run('openssl', [
    'req',
    '-x509',
    ...EC_KEY,
    '-days',
    '2',
    ...files,
    '-addext',
    `subjectAltName=${names.join(',')}`,
  ]);
  return { certFile, keyFile };
}

async function writeDatabase(dir: string): Promise<void> {
  await writeFile(join(dir, 'ca.index'), '');
  const rows = [
    '[ca]',
    'default_ca = test',
    '[test]',
    `database = ${join(dir, 'ca.index')}`,
    `serial = ${join(dir, 'ca.serial')}`,
    `new_certs_dir = ${dir}`,
    'default_md = sha256',
    'policy = any',
    'unique_subject = no',
    'copy_extensions = copy',
    '[any]',
    'commonName = supplied',
  ];
  await writeFile(join(dir, 'ca.cnf'), `${rows.join('\n')}\n`);
}
