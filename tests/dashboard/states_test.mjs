// Goal: whatever is missing or fails, the page says so in words, and goes on by itself where it can.
import assert from 'node:assert/strict';
import {after, before, test} from 'node:test';

import {close, end, open, picture, quiet, until} from './harness.mjs';

const TOKENS = `  auth:
    tokens:
      - {token: reader-0123456789, scopes: [read]}
      - {token: analyst-0123456789, scopes: [read, sql]}`;
const AGGREGATE = `aggregates:
  - name: per_minute
    sql: SELECT window_start, id, count(*) AS n FROM TUMBLE(input, ts, INTERVAL 1 MINUTE) GROUP BY ALL`;
let bare, locked;
before(async () => {
  bare = await quiet('bare');
  locked = await quiet('locked', {more: TOKENS, aggregates: AGGREGATE});
});
after(async () => {
  await bare?.stop();
  await locked?.stop();
  await end();
});

const problem = (status, code, detail, hint) => ({
  status, contentType: 'application/problem+json', body: JSON.stringify({type: 'urn:millrace:problem:' + code, title: code, status, code, detail, hint}),
});
const alert = (page, text) => page.getByRole('alert').filter({hasText: text}).first().waitFor();

test('a pipeline without aggregates, rows or dead letters', async () => {
  const {page, context, errors} = await open();
  for (const [fragment, text] of [
    ['#/', 'This pipeline has no aggregates'],
    ['#/explore', 'This pipeline has no aggregates'],
    ['#/tables', 'bare'],
    ['#/tables/bare?show=files', 'This version has no files'],
    ['#/tables/bare?show=rows', 'No row is committed yet'],
    ['#/letters', 'There are no dead letters: every record became a row'],
    ['#/source', 'bare[0]'],
    ['#/cost', 'There is no live load yet'],
    ['#/nowhere', 'There is no page here'],
    ['#/tables/no_such', "There is no table 'no_such'"],
  ]) {
    await page.goto(bare.url + '/' + fragment);
    await page.getByText(text).first().waitFor({timeout: 60_000}).catch(async () => assert.fail(`${fragment}: no '${text}' in ${await page.locator('main').innerText()}`));
    await picture(page, 'empty-' + fragment.replace(/\W+/g, '-'));
  }
  await page.goto(bare.url);
  await page.getByText('Does it keep up?').waitFor();
  assert.equal(await page.getByText('Why are there').count(), 0, 'none of them to be asked about');
  assert.deepEqual(errors, []);
  await close(context);
});

test('an aggregate without rows, and one that is not there', async () => {
  const {page, context} = await open();
  await page.goto(locked.url);
  await page.getByLabel('Token').fill('reader-0123456789');
  await page.getByRole('button', {name: 'Sign in'}).click();
  await page.getByText('Nothing has come in the last').waitFor();
  await page.goto(locked.url + '/#/explore/per_minute');
  await page.getByText('No rows: nothing came in this range').waitFor();
  await page.goto(locked.url + '/#/explore/no_such');
  await page.getByText("There is no aggregate 'no_such'").waitFor();
  await page.goto(locked.url + '/#/explore/per_minute?where=nonsense+(');
  await alert(page, 'where');
  await close(context);
});

test('a server that wants to know who asks', async () => {
  const {page, context} = await open();
  await page.goto(locked.url + '/#/tables');
  await page.getByRole('heading', {name: 'Sign in'}).waitFor();
  assert.equal(await page.locator('.pill').innerText(), 'locked');
  await picture(page, 'sign-in');
  await page.getByLabel('Token').fill('wrong');
  await page.getByRole('button', {name: 'Sign in'}).click();
  await alert(page, 'This token does not open it');
  await page.getByLabel('Token').fill('reader-0123456789');
  await page.getByLabel('Token').press('Enter');
  await page.getByRole('region', {name: 'Tables'}).getByText('locked').first().waitFor();
  assert.doesNotMatch(page.url(), /0123/);
  // Another page of this tab has it, another tab has not.
  await page.reload();
  await page.getByRole('region', {name: 'Tables'}).waitFor();
  const other = await context.newPage();
  await other.goto(locked.url);
  await other.getByRole('heading', {name: 'Sign in'}).waitFor();
  // What it may not do is said, and the rest goes on.
  await page.goto(locked.url + '/#/sql?q=SELECT+1');
  await alert(page, 'sql');
  await page.goto(locked.url + '/#/tables');
  await page.getByRole('button', {name: 'sign out'}).click();
  await page.getByText('You have signed out.').waitFor();
  await close(context);
});

test('a token that expires while one looks', async () => {
  const {page, context} = await open();
  await page.goto(locked.url);
  await page.getByLabel('Token').fill('reader-0123456789');
  await page.getByLabel('Token').press('Enter');
  await page.locator('.stage').first().waitFor();
  await page.route('**/v1/**', route => route.fulfill(problem(401, 'invalid_token', 'The token has expired.')));
  await page.getByText('The token has expired.').waitFor();
  await page.getByLabel('Token').waitFor();
  await close(context);
});

test('answers that are refused: too large, too late, too many, an answer of a proxy', async () => {
  for (const [answer, ...texts] of [
    [problem(413, 'answer_too_large', 'The answer has more than 1,000,000 rows.'), 'more than 1,000,000 rows', 'Ask for less'],
    [problem(504, 'deadline_exceeded', 'There is no answer within 30 s.', 'Ask for less at once.'), 'no answer within 30 s', 'Ask for less at once.'],
    [problem(503, 'overloaded', 'As many statements run as may.'), 'As many statements run', 'try again in a moment'],
    [{status: 502, contentType: 'text/html', body: '<html>Bad Gateway</html>'}, 'The answer was 502'],
  ]) {
    const {page, context, errors} = await open();
    await page.route('**/v1/sql*', route => route.fulfill(answer));
    await page.goto(bare.url + '/#/sql?q=SELECT+1');
    for (const text of texts) await alert(page, text);
    await close(context);
    assert.deepEqual(errors, []);
  }
});

test('a stream that cannot be had is asked for instead', async () => {
  const {page, context} = await open();
  await page.goto(locked.url);
  await page.getByLabel('Token').fill('analyst-0123456789');
  await page.getByRole('button', {name: 'Sign in'}).click();
  await page.locator('.stage').first().waitFor();
  await page.route('**/stream?*', route => route.fulfill(problem(503, 'overloaded', 'There are 64 questions of streams.')));
  await page.route('**/v1/aggregates/per_minute?*', route => route.fulfill({json: {
    meta: [{name: 'window_start', type: 'TIMESTAMP WITH TIME ZONE'}, {name: 'n', type: 'DECIMAL(38,2)'}], rows: 1, next: null,
    data: [{window_start: '2026-11-29T10:00:00Z', n: 1}], statistics: {elapsed: 0.001, rows_read: 1, bytes_read: 0}, as_of: {version: 3, offsets: {}, watermark: null}}}));
  await page.goto(locked.url + '/#/explore/per_minute?by=-&view=table');
  await page.getByText('asked every 2 s').waitFor();
  assert.equal(await page.locator('.grid tbody tr').count(), 1);
  await close(context);
});

test('a tap that cannot be had says why', async () => {
  const {page, context} = await open();
  const busy = problem(503, 'unavailable', '8 taps are open, which is the limit; close one, or try again later', 'Ask again.');
  const none = problem(501, 'not_supported', 'this process reads no log: ask one that was started with --role all');
  let asked = 0;
  for (const [answer, text, button] of [[busy, '8 taps are open', 'Stop'], [none, 'this process reads no log', 'Watch']]) {
    await page.route('**/v1/tap?*', route => (++asked, route.fulfill(answer)));
    await page.goto('about:blank');
    await page.goto(bare.url + '/#/source');
    await page.getByRole('button', {name: 'Watch'}).click();
    await alert(page, text);
    await page.getByRole('button', {name: button}).waitFor();
    await page.unroute('**/v1/tap?*');
  }
  assert.ok(asked >= 2);
  // It is had after all: nothing has come, which it says.
  await page.getByRole('button', {name: 'Watch'}).click();
  await page.getByText('Nothing has come yet').waitFor();
  assert.equal(await page.getByRole('alert').count(), 0);
  await close(context);
});

test('numbers of many digits stay as they are', async () => {
  const {page, context} = await open();
  await page.route('**/v1/sql*', route => route.fulfill({contentType: 'application/json', body: `{"meta": [{"name": "big", "type": "DECIMAL(38,2)"}, {"name": "n", "type": "BIGINT"}],
    "data": [{"big": 123456789012345678901234567890.12, "n": 9007199254740993}], "rows": 1, "statistics": {"elapsed": 0.1, "rows_read": 1, "bytes_read": 1}, "as_of": {"tables": {}, "watermark": null}, "next": null}`}));
  await page.goto(bare.url + '/#/sql?q=SELECT+1');
  await page.locator('.grid td').first().waitFor();
  assert.deepEqual(await page.locator('.grid td').allInnerTexts(), ['123456789012345678901234567890.12', '9007199254740993']);
  await close(context);
});

test('dead letters without the scope for SQL are counted from their rows', async () => {
  const {page, context} = await open();
  const now = new Date().toISOString();
  const letter = {timestamp: now, stage: 'decode', reason: 'bad_json'};
  await page.route('**/v1/tables', async route => {
    const reply = await (await route.fetch()).json();
    route.fulfill({json: {tables: reply.tables.map(table => (table.kind === 'dead_letters' ? {...table, rows: 2} : table))}});
  });
  await page.route('**/v1/sql', route => route.fulfill(problem(403, 'insufficient_scope', 'This wants the scope sql.')));
  await page.route('**/v1/tables/bare_dead_letters/rows?*', route => route.fulfill({json: {meta: [], rows: 2, next: null, statistics: {elapsed: 0, rows_read: 2, bytes_read: 0},
    data: route.request().url().includes('columns=') ? [letter, letter] : [{...letter, topic: 'bare', partition: 0, offset: 7, key: null, payload: 'ff7b01', headers: [{key: 'trace', value: '6162'}], detail: 'no JSON'}],
    as_of: {version: 1, offsets: {}, watermark: null}}}));
  await page.goto(bare.url + '/#/letters');
  await page.locator('.reasons li').first().waitFor({timeout: 60_000}).catch(async () => assert.fail(await page.locator('main').innerText()));
  assert.match(await page.locator('.reasons li').innerText(), /bad_json[\s\S]*2[\s\S]*100 %/);
  assert.equal(await page.locator('.letter pre').innerText(), '\\xff{\\x01');
  assert.match(await page.locator('.letter').innerText(), /trace: ab/);
  await close(context);
});

test('a pipeline that is not well says what is wrong', async () => {
  const {page, context} = await open();
  await page.route('**/v1/pipeline', async route => {
    const p = await (await route.fetch()).json();
    p.errors = ['the broker is down'];
    p.source.partitions[0].paused = true;
    p.memory = {budget: 100, used: 99};
    p.lookups = [{name: 'devices', version: '1', rows: 1, bytes: 1, age_seconds: 3600, error: 'devices.csv: no such file'}];
    p.tables[0] = {...p.tables[0], hot_rows: 5, last_commit: new Date(Date.now() - 3_600_000).toISOString()};
    route.fulfill({json: p});
  });
  await page.goto(bare.url);
  for (const text of ['the broker is down', 'wait: the memory limit is reached', 'Memory is nearly used up', 'Lookup devices: devices.csv: no such file', 'has had no commit for 1 h 0 min']) await alert(page, text);
  assert.deepEqual(await page.locator('.stage').evaluateAll(stages => stages.map(s => s.className)), ['stage good', 'stage warn', 'stage bad', 'stage warn', 'stage warn', 'stage good']);
  await picture(page, 'unwell');
  await close(context);
});

test('a server that is gone and back', async () => {
  let server = await quiet('away');
  const port = new URL(server.url).port;
  const {page, context} = await open();
  await page.goto(server.url);
  await page.locator('.stage').first().waitFor();
  await server.stop();
  await alert(page, 'The server has not answered for');
  assert.equal(await page.locator('.pill').innerText(), 'no answer');
  await picture(page, 'gone');
  server = await quiet('away', {port});
  await until('it is back', async () => (await page.locator('.pill').innerText()) === 'running', 30);
  assert.equal(await page.getByRole('alert').count(), 0);
  await server.stop();
  await close(context);
});
