// The browser's snippet in Chromium: what a page says arrives, from its own origin and another one; and nothing does where the reader
// does not want to be tracked.
import assert from 'node:assert/strict';
import {execFileSync} from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import {after, test} from 'node:test';

import {close, end, folder, open, quiet, until} from '../dashboard/harness.mjs';

const READER = process.env.READ_LOG;
let pages;
after(async () => {
  pages?.close();
  await end();
});

/** A server of pages at an origin of its own, which is not the gateway's; `gateway` gives that one's. */
async function site(gateway) {
  pages = http.createServer((request, response) => {
    response.setHeader('Content-Type', 'text/html; charset=utf-8');
    response.end(`<!doctype html><title>shop</title><script src="${gateway()}/v1/collect.js" data-topic="clicks"></script>
      <script>window.millrace && millrace({action: "view", title: "é\u{1F600}"})</script>`);
  });
  await new Promise(resolve => pages.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${pages.address().port}`;
}

const sent = () => execFileSync(READER, ['embedded:' + path.join(folder, 'clicks-log'), 'clicks'], {encoding: 'utf8'})
  .split('\n').filter(Boolean).map(line => JSON.parse(JSON.parse(line).payload));

test('events of a page come into the log, and none of one who does not want that', async () => {
  const gateway = origin => quiet('clicks', {more: `  cors: {origins: ["${origin}"]}
  auth: {tokens: [{token: reader, scopes: [read]}]}
gateway: {state: clicks-state, http: {topics: {clicks: {anonymous: true}}}}`});
  // The page's origin must be known before the gateway is, and the other way round.
  let running = await gateway('http://nobody.example');
  const origin = await site(() => running.url);
  const refused = await open();
  const answer = refused.page.waitForResponse(response => response.url().includes('/v1/events/'));
  await refused.page.goto(origin + '/refused');
  assert.equal((await answer).status(), 403);
  await close(refused.context);
  await running.stop();

  fs.writeFileSync(path.join(folder, 'clicks.yaml'), fs.readFileSync(path.join(folder, 'clicks.yaml'), 'utf8')
    .replace('http://nobody.example', origin));
  running = await (await import('../dashboard/harness.mjs')).start('run', '-c', 'clicks.yaml');

  const {page, context, errors} = await open();
  await page.goto(origin + '/first');
  await until('the first event', () => sent().length === 1);
  await page.evaluate(() => {
    for (let i = 0; i < 300; i++) millrace({action: 'many', i, pad: 'x'.repeat(20)});
  });
  await page.evaluate(() => millrace({action: 'last'}));
  await page.goto('about:blank');  // The page goes at once: what waits is sent then.
  await until('all events', () => sent().length === 302);
  const events = sent();
  const view = events.find(event => event.action === 'view');
  assert.deepEqual([view.title, view.page], ['é\u{1F600}', '/first']);
  assert.equal(new Set(events.map(event => event.event_id)).size, 302);
  assert.ok(Math.abs(Date.parse(view.ts) - Date.now()) < 60000, view.ts);
  const many = events.filter(event => event.action === 'many').map(event => event.i);
  assert.deepEqual(many.sort((a, b) => a - b), [...Array(300).keys()]);
  assert.equal(events.filter(event => event.action === 'last').length, 1);
  assert.deepEqual(errors, []);
  await close(context);

  for (const unwanted of ['doNotTrack', 'globalPrivacyControl']) {
    const private_ = await open();
    await private_.context.addInitScript(name => Object.defineProperty(Navigator.prototype, name, {get: () => name === 'doNotTrack' ? '1' : true}), unwanted);
    let asked = 0;
    private_.page.on('request', request => { if (request.url().includes('/v1/events/')) asked++; });
    await private_.page.goto(origin + '/private');
    assert.equal(await private_.page.evaluate(() => typeof millrace), 'function');
    await private_.page.evaluate(() => dispatchEvent(new Event('pagehide')));
    await private_.page.goto('about:blank');
    assert.equal(asked, 0, unwanted);
    await close(private_.context);
  }
  assert.equal(sent().length, 302);
  await running.stop();
});
