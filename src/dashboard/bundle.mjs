// The dashboard as one HTML document: its own script and style, and nothing that is fetched later.
import fs from 'node:fs';
import {createRequire} from 'node:module';
import os from 'node:os';
import path from 'node:path';
import {fileURLToPath} from 'node:url';

const here = path.dirname(fileURLToPath(import.meta.url));
const deps = path.join(process.env.MILLRACE_DEPS ?? path.join(os.homedir(), '.cache/millrace/deps'), 'dashboard');
/** Where scripts/setup has put the packages of package-lock.json. */
export const packages = path.join(deps, 'node_modules');
export const require = createRequire(deps + '/');

// The licences ask for their notice wherever the code goes.
function notices(inputs) {
  const names = new Set();
  for (const input of inputs) {
    const found = /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input);
    if (found) names.add(found[1]);
  }
  return [...names].sort().map(name => {
    const about = JSON.parse(fs.readFileSync(path.join(packages, name, 'package.json'), 'utf8'));
    const licence = fs.readFileSync(path.join(packages, name, 'LICENSE'), 'utf8');
    return `${name} ${about.version}, ${about.license}: ${/^Copyright.*$/m.exec(licence)[0]}`;
  });
}

/** Throws what is wrong in the sources; `options` are esbuild's. */
export async function bundle(options = {}) {
  const {outputFiles, metafile} = await require('esbuild').build({
    absWorkingDir: here, entryPoints: {page: 'src/main.tsx'}, outdir: here, bundle: true, write: false, metafile: true,
    format: 'iife', target: 'es2022', minify: true, jsx: 'automatic', jsxImportSource: 'preact', nodePaths: [packages],
    legalComments: 'none', define: {'process.env.NODE_ENV': '"production"'}, ...options});
  const text = extension => outputFiles.find(file => file.path.endsWith(extension)).text.trim();
  const notice = `/* In here are:\n${notices(Object.keys(metafile.inputs)).join('\n')}\n*/\n`;
  const page = fs.readFileSync(path.join(here, 'page.html'), 'utf8');
  return page.replace('/*STYLE*/', () => text('.css')).replace('/*SCRIPT*/', () => notice + text('.js'));
}
