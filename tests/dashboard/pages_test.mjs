// Goal: every page of the dashboard shows what runs, to everybody. Method: a demo, a real Chromium.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import {after, before, test} from 'node:test';

import {require} from '../../src/dashboard/bundle.mjs';
import {delay, demo, end, open, picture, until} from './harness.mjs';

const axe = require('axe-core').source;
const PAGES = {
  overview: ['#/', '.chart canvas'],
  explore: ['#/explore/clicks_1m', '.chart canvas'],
  'explore-table': ['#/explore/clicks_1m?from=-5m&step=0&by=country,page&m=views,revenue&view=table', '.grid td'],
  sql: ['#/sql?q=SELECT+country,+count(*)+AS+n+FROM+clicks+GROUP+BY+ALL+ORDER+BY+n+DESC', '.grid td'],
  tables: ['#/tables', '.meter'],
  schema: ['#/tables/clicks', 'table td'],
  versions: ['#/tables/clicks?show=versions', '.chart canvas'],
  files: ['#/tables/clicks?show=files', '.meter'],
  rows: ['#/tables/clicks?show=rows', '.grid td'],
  source: ['#/source', '.chart canvas'],
  letters: ['#/letters', '.letter pre'],
  cost: ['#/cost', 'svg.curve polyline'],
};

const MODES = {light: {colorScheme: 'light'}, dark: {colorScheme: 'dark'}, phone: {viewport: {width: 390, height: 844}}};

let service;
before(async () => {
  service = await demo();
  await until('commits and dead letters', async () => {
    const {tables} = await (await fetch(service.url + '/v1/pipeline')).json();
    return tables.every(table => table.version >= 2) && tables.find(t => t.kind === 'dead_letters')?.rows > 5;
  }, 90);
});
after(async () => {
  await service?.stop();
  await end();
});

async function at(fragment, options) {
  const opened = await open(options);
  await opened.page.goto(service.url + '/' + fragment);
  return opened;
}
const text = async (page, selector) => (await page.locator(selector).first().innerText()).trim();

for (const [name, [fragment, there]] of Object.entries(PAGES)) {
  test(`${name}: for everybody, in light and dark and on a phone`, async () => {
    await Promise.all(Object.entries(MODES).map(async ([mode, options]) => {
      const {page, context, errors} = await at(fragment, options);
      const asked = [];
      page.on('request', request => asked.push(request.url()));
      await page.locator(there).first().waitFor({timeout: 60_000});
      await delay(300);
      assert.deepEqual(errors, [], mode);
      assert.equal(await page.locator('.notice:not(.mild)').count(), 0, `${mode}: ` + (await page.locator('main').innerText()).slice(0, 500));
      await picture(page, `${name}-${mode}`);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(wide <= 0, `${mode}: the page is ${wide} px too wide`);
      for (const url of asked) assert.ok(url.startsWith(service.url) || /^(data|blob):/.test(url), `it asks ${url}`);
      assert.deepEqual(await seriousFindings(page), [], mode);
      await context.close();
    }));
  });
}

/** Of axe, which comes in by the debugger: the page's own policy lets no script in. */
async function seriousFindings(page) {
  await page.evaluate(axe);
  return page.evaluate(async () => {
    const {violations} = await window.axe.run();
    return violations.filter(v => ['serious', 'critical'].includes(v.impact)).map(v => `${v.id}: ${v.nodes.slice(0, 3).map(n => n.html + ' ' + n.failureSummary).join(' | ')}`);
  });
}

test('the picture has a rate on each arrow, and its stages lead to their pages', async () => {
  const {page, context} = await at('#/', {viewport: {width: 1120, height: 640}});
  await until('rates', async () => {
    const rates = await page.locator('.arrow span').allInnerTexts();
    return rates.length === 5 && [0, 1, 2, 4].every(i => /[1-9]/.test(rates[i] ?? '')) ? rates : null;
  });
  await until('commits', async () => /[1-9]/.test(await page.locator('.arrow span').nth(3).innerText()), 60);
  await picture(page, 'readme', false);  // docs/images/dashboard.png
  assert.equal(await text(page, '.pill'), 'running');
  await page.locator('[data-stage=ingest]').click();
  await page.locator('.letter').first().waitFor();
  assert.match(page.url(), /#\/letters$/);
  await context.close();
});

test('a stranger finds what came by country in the last minute', async () => {
  const {page, context} = await at('#/');
  await page.getByRole('link', {name: 'What came in the last minute?'}).click();
  await page.locator('.grid tbody tr').first().waitFor();
  const [country, views] = await page.locator('.grid tbody tr').first().locator('td').allInnerTexts();
  assert.match(country, /^[A-Z]{2}$/);
  assert.ok(Number(views) > 100, `${views} views of ${country}`);
  await context.close();
});

test('explore: what is chosen is in the URL, which opens the same', async () => {
  const {page, context} = await at('#/explore/clicks_1m');
  await page.locator('.chart canvas').waitFor();
  await page.getByRole('button', {name: 'revenue'}).click();
  await page.getByRole('button', {name: 'page', exact: true}).click();
  await page.getByRole('button', {name: 'Table'}).click();
  await page.getByLabel('Filter, in SQL').fill("country = 'DE'");
  await page.getByLabel('Filter, in SQL').press('Enter');
  await until('only Germany', async () => {
    const column = await page.locator('.grid tbody tr td:nth-child(2)').allInnerTexts();
    return column.length > 0 && column.every(country => country === 'DE');
  });
  assert.deepEqual(Object.fromEntries(new URLSearchParams(page.url().split('?')[1])), {m: 'views,revenue', by: 'country,page', view: 'table', where: "country = 'DE'"});
  const again = await open();
  await again.page.goto(page.url());
  await again.page.locator('.grid tbody tr').first().waitFor();
  assert.deepEqual(await again.page.locator('.grid thead th').allInnerTexts(), ['window_start', 'country', 'page', 'views', 'revenue']);
  assert.equal(await again.page.getByLabel('Filter, in SQL').inputValue(), "country = 'DE'");
  await context.close();
  await again.context.close();
});

test('explore: the request as curl and as SQL give what the page shows', async () => {
  const {page, context} = await at('#/explore/clicks_1m?from=2020-01-01T00:00:00Z&to=2020-01-02T00:00:00Z&by=country&m=views');
  await page.getByText('No rows: nothing came in this range').waitFor();
  await page.goto(service.url + '/#/explore/clicks_1m?from=-1h&step=0&by=country&m=views,slowest&view=table');
  await page.locator('.grid tbody tr').first().waitFor();
  await page.getByText('This request').click();
  const curl = await page.getByLabel('curl', {exact: true}).innerText();
  const answer = await (await fetch(/'(.*)'/.exec(curl)[1])).json();
  const sql = await page.getByLabel('SQL', {exact: true}).innerText();
  const same = await (await fetch(service.url + '/v1/sql', {method: 'POST', body: JSON.stringify({sql, freshness: 'hot'})})).json();
  const shown = await page.locator('.grid tbody tr td:first-child').allInnerTexts();
  assert.ok(shown.length > 10);
  assert.deepEqual(new Set(answer.data.map(row => row.country)), new Set(shown));
  assert.deepEqual(new Set(same.data.map(row => row.country)), new Set(shown));
  const slowest = rows => rows.map(row => `${row.country} ${row.slowest > 0}`).sort();
  assert.deepEqual(slowest(answer.data), slowest(same.data));
  await context.close();
});

test('explore: the chart is pushed, not asked for', async () => {
  const {page, context} = await open();
  const asked = [];
  page.on('request', request => asked.push(new URL(request.url()).pathname));
  await page.goto(service.url + '/#/explore/clicks_1s?by=-');
  await page.locator('.chart canvas').waitFor();
  const last = () => page.locator('figure.chart').getAttribute('aria-label');
  const before = await last();
  await until('another value', async () => (await last()) !== before, 10);
  assert.equal(asked.filter(path => path === '/v1/aggregates/clicks_1s').length, 0);
  assert.equal(asked.filter(path => path === '/v1/aggregates/clicks_1s/stream').length, 1);
  await context.close();
});

test('sql: completion, an answer, a chart, a file, an error with its place', async () => {
  const {page, context} = await at('#/sql');
  const editor = page.locator('.cm-content');
  await editor.click();
  await page.keyboard.type('SELECT cou');
  await page.keyboard.press('Control+a');
  await page.keyboard.press('Backspace');
  await page.keyboard.type('SELECT * FROM clic');
  await page.locator('.cm-tooltip-autocomplete').getByText('clicks_1m', {exact: true}).waitFor();
  await page.keyboard.press('Escape');
  await page.keyboard.press('Control+a');
  await page.keyboard.type('SELECT country, count(*) AS n FROM clicks GROUP BY ALL ORDER BY n DESC LIMIT 5 ');
  await page.keyboard.press('Escape');
  await page.keyboard.press('Control+Enter');
  await page.getByRole('heading', {name: '5 rows'}).waitFor();
  assert.equal(await page.locator('.grid tbody tr').count(), 5);
  await page.getByRole('button', {name: 'Chart'}).click();
  assert.equal(await page.locator('.bars-table tbody tr').count(), 5);
  const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', {name: 'CSV'}).click()]);
  assert.equal(file.suggestedFilename(), 'answer.csv');
  assert.match(fs.readFileSync(await file.path(), 'utf8'), /^country,n\r?\n/);
  await editor.click();
  await page.keyboard.press('Control+a');
  await page.keyboard.type('SELECT nothing FROM clicks ');
  await page.keyboard.press('Escape');
  await page.getByRole('button', {name: 'Run'}).click();
  await page.getByRole('alert').getByText('at line 1 column 8').waitFor();
  await context.close();
});

test('tables: how full, how it grows, and where each row of it is', async () => {
  const {page, context} = await at('#/tables');
  await until('growth', async () => /[1-9].*iB a day/.test(await page.locator('tbody tr').first().innerText()));
  await page.getByRole('link', {name: 'clicks', exact: true}).click();
  await page.getByText('partitions the table').waitFor();
  await page.getByRole('button', {name: 'Versions'}).click();
  await page.getByText('STREAMING UPDATE').first().waitFor();
  assert.match(await page.locator('figure.chart').first().getAttribute('aria-label'), /Rows: rows from 0 to [1-9]/);
  await page.getByRole('button', {name: 'Files'}).click();
  await page.getByText(/^ts_date=.*\.parquet$/).first().waitFor();
  await context.close();
});

test('dead letters: why, their bytes, and what would mend them', async () => {
  const {page, context} = await at('#/letters');
  await page.locator('.reasons button').first().waitFor();
  assert.match(await page.locator('.reasons').innerText(), /type_mismatch[\s\S]*To mend it: The detail names the column/);
  await page.locator('.reasons button', {hasText: 'type_mismatch'}).click();
  await page.getByRole('heading', {name: 'Samples of type_mismatch'}).waitFor();
  const slow = page.locator('.letter', {hasText: '"latency_ms":"slow"'}).first();
  await slow.waitFor();
  assert.match(await slow.innerText(), /expected double, found string[\s\S]*"latency_ms":"slow"[\s\S]*offset \d+/);
  assert.match(await page.getByLabel('Once the cause is mended: run them again').innerText(), /dlq replay -c pipeline\.yaml --where "reason = 'type_mismatch'"/);
  await page.getByRole('button', {name: 'Bytes', exact: true}).click();
  assert.match(await text(page, '.letter pre'), /^000000 {2}7b 22 65/);
  assert.match(page.url(), /reason=type_mismatch&bytes=hex/);
  await context.close();
});

test('source: each partition with its rates', async () => {
  const {page, context} = await at('#/source');
  await until('rates', async () => {
    const rows = await page.getByRole('region', {name: 'Partitions'}).locator('tbody tr').allInnerTexts();
    return rows.length === 8 && rows.every(row => /^(clicks|readings)\[\d\]\s.*[1-9]\d*\/s\s+[1-9]\d*\/s/.test(row));
  });
  await page.getByText('millrace tap -c pipeline.yaml').first().waitFor();
  await context.close();
});

test('source: a tap shows what comes, and only while somebody looks', async () => {
  await Promise.all(Object.entries(MODES).map(async ([mode, options]) => {
    const {page, context, errors} = await at('#/source', options);
    await page.getByRole('button', {name: 'Watch'}).click();
    await page.getByText('watching', {exact: true}).waitFor();
    await until('rows and dead letters', async () => /[1-9]\d* rows?, [1-9]\d* dead letters?/.test(await page.locator('main').innerText()));
    await delay(500);
    await picture(page, `tap-${mode}`);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(wide <= 0, `${mode}: the page is ${wide} px too wide`);
    assert.deepEqual(errors, [], mode);
    await context.close();
  }));
  const {page, context} = await at("#/source?where=country+%3D+'DE'", {bypassCSP: true});
  const events = page.getByRole('region', {name: 'Events as they come'});
  const column = name => events.evaluate((region, name) => {
    const at = [...region.querySelectorAll('th')].findIndex(th => th.textContent === name);
    return [...region.querySelectorAll('tbody tr')].map(tr => tr.children[at]?.textContent).filter(text => text !== undefined);
  }, name);
  await page.getByLabel('Only where, in SQL').press('Enter');
  await until('Germany', async () => (await events.count()) && (await column('country')).length > 5);
  assert.deepEqual(new Set(await column('country')), new Set(['DE']));
  assert.match((await column('from'))[0], /^clicks\[\d\] \d+$/);
  // Another condition while it runs, by the keyboard.
  await page.getByLabel('Only where, in SQL').fill("country = 'FR'");
  await delay(1000);  // Rows come, and what was typed stays.
  await page.getByLabel('Only where, in SQL').press('Enter');
  await until('France', async () => (await events.count()) && (await column('country')).length > 5 && (await column('country')).every(country => country === 'FR'));
  await page.addScriptTag({content: axe});
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({colorScheme});
    const findings = await page.evaluate(async () => (await window.axe.run()).violations.filter(v => ['serious', 'critical'].includes(v.impact)).map(v => `${v.id}: ${v.nodes[0].html}`));
    assert.deepEqual(findings, [], colorScheme);
  }
  // Nobody looks: the server has no tap any more; somebody does again: one.
  const taps = async () => Number(/^millrace_taps (\d+)/m.exec(await (await fetch(service.url + '/metrics')).text())[1]);
  assert.equal(await taps(), 1);
  await page.evaluate(() => {
    Object.defineProperty(document, 'hidden', {configurable: true, get: () => true});
    document.dispatchEvent(new Event('visibilitychange'));
  });
  await until('no tap', async () => (await taps()) === 0);
  await page.evaluate(() => {
    delete document.hidden;
    document.dispatchEvent(new Event('visibilitychange'));
  });
  await page.getByText('What came here was not seen').waitFor();
  await page.getByRole('button', {name: 'Stop'}).press('Enter');
  await page.getByText('stopped', {exact: true}).waitFor();
  await until('no tap', async () => (await taps()) === 0);
  assert.ok((await column('country')).length > 5, 'what was seen stays');
  await page.getByLabel('Only where, in SQL').fill('contry = 1');
  await page.getByLabel('Only where, in SQL').press('Enter');
  await page.getByRole('alert').filter({hasText: "did you mean 'country'?"}).waitFor();
  await page.getByRole('button', {name: 'Watch'}).waitFor();
  await context.close();
});

test('cost: from the live load, changed by a slider, in the URL', async () => {
  const {page, context} = await at('cost');
  await page.locator('svg.curve polyline').first().waitFor();
  assert.match(page.url(), /\/#\/cost$/);
  await page.getByText(/measured over \d+ s/).waitFor();
  const before = await text(page, '.bill .total');
  await page.getByRole('slider', {name: /events a second/}).focus();
  for (let i = 0; i < 40; ++i) await page.keyboard.press('PageUp');
  await until('another bill', async () => (await text(page, '.bill .total')) !== before);
  assert.match(decodeURIComponent(page.url()), /load=\{"events_per_second":/);
  await page.getByRole('button', {name: 'starter'}).click();
  await until('the preset', async () => (await text(page, '.bill .total')) === '55.85');
  await context.close();
});

test('keys alone go everywhere', async () => {
  const {page, context} = await at('#/');
  await page.locator('.chart canvas').first().waitFor();
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'To the page');
  await page.keyboard.press('4');
  await page.getByRole('heading', {name: 'Tables', level: 2}).waitFor();
  await page.keyboard.press('2');
  await page.getByRole('combobox', {name: 'Aggregate'}).waitFor();
  await page.keyboard.press('/');
  assert.equal(await page.evaluate(() => document.activeElement.tagName), 'SELECT');
  await page.keyboard.press('Escape');
  await page.locator('#main').focus();
  await page.keyboard.press('?');
  await page.getByText('to the first field of a page').waitFor();
  await context.close();
});

test('a tab that nobody sees asks nothing', async () => {
  const {page, context} = await at('#/explore/clicks_1s');
  await page.locator('.chart canvas').waitFor();
  await page.evaluate(() => {
    Object.defineProperty(document, 'hidden', {configurable: true, get: () => true});
    document.dispatchEvent(new Event('visibilitychange'));
  });
  await delay(1500);  // What was on its way.
  let asked = 0;
  page.on('request', () => ++asked);
  await delay(3000);
  assert.equal(asked, 0);
  await page.evaluate(() => {
    delete document.hidden;
    document.dispatchEvent(new Event('visibilitychange'));
  });
  await until('it goes on', () => asked > 1, 5);
  await context.close();
});
