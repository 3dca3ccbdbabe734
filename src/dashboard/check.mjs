// Checks the sources' types, with those of the API made from its contract. Prints findings; exit 1 if there are any.
import {execFileSync, spawnSync} from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {fileURLToPath} from 'node:url';

import {packages} from './bundle.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const work = fs.mkdtempSync(path.join(os.tmpdir(), 'millrace-dashboard-'));
try {
  const contract = path.join(here, '../serve/openapi.json');
  execFileSync(process.execPath, [path.join(packages, 'openapi-typescript/bin/cli.js'), contract, '-o', path.join(work, 'openapi.d.ts')], {stdio: 'pipe'});
  const config = path.join(work, 'tsconfig.json');
  fs.writeFileSync(config, JSON.stringify({
    extends: path.join(here, 'tsconfig.json'),
    compilerOptions: {paths: {openapi: [path.join(work, 'openapi.d.ts')], '*': [path.join(packages, '*')]}},
    include: [path.join(here, 'src')]}));
  const {status} = spawnSync(process.execPath, [path.join(packages, 'typescript/bin/tsc'), '--noEmit', '-p', config], {stdio: 'inherit'});
  process.exitCode = status === 0 ? 0 : 1;
} finally {
  fs.rmSync(work, {recursive: true});
}
