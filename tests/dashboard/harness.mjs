// Millrace as the dashboard's tests use it, and a browser to look at it.
import {spawn} from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

import {require} from '../../src/dashboard/bundle.mjs';

const {chromium} = require('playwright-core');
const BINARY = process.env.MILLRACE_BINARY;
/** Of one test file; deleted at its end. Screenshots go to $MILLRACE_SCREENSHOTS, where somebody wants to see them. */
export const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'millrace-dashboard-'));
const screenshots = process.env.MILLRACE_SCREENSHOTS;

export const delay = ms => new Promise(resolve => setTimeout(resolve, ms));

export async function until(what, condition, seconds = 180) {
  for (const end = Date.now() + 1000 * seconds; Date.now() < end; await delay(100)) {
    const value = await condition();
    if (value) return value;
  }
  throw new Error(`${what}: not within ${seconds} s`);
}

/** A process of Millrace, once its output has an address. */
export async function start(...args) {
  const child = spawn(BINARY, args, {cwd: folder});
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', text => (output += text));
  const url = await until('an address', () => {
    if (child.exitCode !== null) throw new Error(output);
    return /https?:\/\/127\.0\.0\.1:\d+/.exec(output)?.[0];
  });
  await until('ready', async () => (await fetch(url + '/readyz').catch(() => null))?.ok);
  const stop = () => new Promise(resolve => {
    if (child.exitCode !== null) return resolve();
    child.once('exit', resolve);
    child.kill('SIGTERM');
  });
  return {url, stop};
}

export const demo = (rate = 2000) => start('demo', '--rate', String(rate), '--dir', path.join(folder, 'demo'), '--port', '0');

/** A pipeline without events. `more` comes at the end of its file; `aggregates` are its own. */
export function quiet(name, {port = 0, more = '', aggregates = ''} = {}) {
  fs.writeFileSync(path.join(folder, `${name}.yaml`), `version: 1
pipeline: ${name}
source: {embedded: {path: ${name}-log, partitions: 2}, topics: [${name}]}
decode: {format: json, columns: {id: string, ts: timestamp}}
event_time: {column: ts}
tables: [{name: ${name}}]
${aggregates}
lake: {uri: ${name}-lake}
serve:
  listen: 127.0.0.1:${port}
${more}
log: {level: info}
`);
  return start('run', '-c', `${name}.yaml`);
}

const inPath = command => process.env.PATH.split(':').map(place => path.join(place, command)).find(file => fs.existsSync(file));

let browser;
export async function open(options = {}) {
  browser ??= chromium.launch({executablePath: inPath('chromium'), args: ['--no-sandbox']});  // Once, whoever else opens a page meanwhile.
  const context = await (await browser).newContext({viewport: {width: 1280, height: 860}, ...options});
  const page = await context.newPage();
  page.setDefaultTimeout(120_000);  // Of what it waits for: a machine that stands still for a moment is no failure.
  const errors = [];
  page.on('pageerror', error => errors.push(String(error)));
  page.on('console', message => /Content Security Policy|Refused/.test(message.text()) && errors.push(message.text()));
  return {page, context, errors};
}

/** What is on its way to a page that goes is nobody's concern. */
export async function close(context) {
  for (const page of context.pages()) await page.unrouteAll({behavior: 'ignoreErrors'});
  await context.close();
}

/** Of the whole page, or of what a window of it shows. */
export async function picture(page, name, fullPage = true) {
  if (!screenshots) return;
  fs.mkdirSync(screenshots, {recursive: true});
  await page.screenshot({path: path.join(screenshots, name + '.png'), fullPage});
}

export async function end() {
  await (await browser)?.close();
  fs.rmSync(folder, {recursive: true, force: true});
}
