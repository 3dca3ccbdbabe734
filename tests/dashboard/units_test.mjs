// What the dashboard computes, without a browser: its modules, bundled for Node.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {after, test} from 'node:test';
import {fileURLToPath} from 'node:url';

import {packages, require} from '../../src/dashboard/bundle.mjs';

const work = fs.mkdtempSync(path.join(os.tmpdir(), 'millrace-dashboard-'));
after(() => fs.rmSync(work, {recursive: true}));
// As much of a browser as the modules ask for when they are loaded.
Object.assign(globalThis, {location: new URL('http://here:1/'), sessionStorage: {getItem: () => null, setItem() {}}, addEventListener() {}});
const root = fileURLToPath(new URL('../../src/dashboard/src', import.meta.url));
async function load(name) {
  const outfile = path.join(work, name.replace('/', '_') + '.mjs');
  await require('esbuild').build({entryPoints: [path.join(root, name + '.ts')], outfile, bundle: true, format: 'esm', platform: 'node', nodePaths: [packages], logLevel: 'error'});
  return import(outfile);
}
const {short, bytes, duration, percent, toNumber, plural} = await load('format');
const {parse, href} = await load('router');
const {target, parseExactly} = await load('data/api');
const {mergeOf, sqlOf, steps} = await load('data/question');
const {growth} = await load('data/growth');
const {diagnose} = await load('data/health');
const {linesOf} = await load('data/lines');
const {toText, dump, fromHex} = await load('data/payload');
const {withEvent, NOTHING, LINES_MAX} = await load('data/tap');

test('numbers are short and say what they are', () => {
  assert.deepEqual([0, 0.126, 9.96, 1234, 12_345, 1.5e6, 2e13, null, Infinity].map(short), ['0', '0.13', '10', '1,234', '12.3 k', '1.50 M', '20.0 T', '–', 'inf']);
  assert.deepEqual([0, 1023, 1024, 5 * 2 ** 30, 1010 * 2 ** 20].map(bytes), ['0 B', '1023 B', '1.00 KiB', '5.00 GiB', '1,010 MiB']);
  assert.deepEqual([0.005, 1.24, 59, 61, 3660, 90_000, NaN].map(duration), ['5 ms', '1.2 s', '59 s', '1 min 1 s', '1 h 1 min', '1 d 1 h', '–']);
  assert.deepEqual([[0, 10], [1, 3], [1, 100_000], [1, 0]].map(([a, b]) => percent(a, b)), ['0 %', '33 %', '< 0.1 %', '0 %']);
  assert.deepEqual(['inf', '-inf', '12.50', '', 'DE', null, 3].map(toNumber), [Infinity, -Infinity, 12.5, null, null, null, 3]);
  assert.equal(plural(1, 'file') + plural(2, 'file'), '1 file2 files');
});

test('a place survives the way through the URL', () => {
  const place = {path: ['tables', 'a/b c?'], params: {where: "x = 'ä&b#%'", show: 'rows'}};
  assert.deepEqual(parse(href(place.path, {...place.params, empty: '', none: undefined})), place);
  assert.deepEqual(parse('#/explore/%'), {path: ['explore', '%'], params: {}});
  assert.deepEqual(parse(''), {path: [], params: {}});
});

test('a request has its names in the path and can be pasted into a shell', () => {
  assert.equal(target('/v1/tables/{table}/rows', {table: 'a b', where: "c = 'x,y'", limit: 2, cursor: undefined}), '/v1/tables/a%20b/rows?where=c+%3D+%27x,y%27&limit=2');
  assert.equal(target('/v1/aggregates/{aggregate}', {aggregate: 'a', group_by: [], measures: ['m', 'n']}), '/v1/aggregates/a?group_by=&measures=m,n');
});

test('digits are kept', () => {
  assert.deepEqual(parseExactly('{"a": 1.50, "b": 0.1, "c": 1e300}'), {a: 1.5, b: 0.1, c: 1e300});
});

const aggregate = (more = {}) => ({name: 'a', window: '1m', window_us: 60e6, keys: [{name: 'country', type: 'string'}, {name: 'page', type: 'string'}],
  measures: [{name: 'views', type: 'BIGINT'}, {name: 'latency', type: 'DOUBLE'}, {name: 'slowest', type: 'DOUBLE'}],
  sql: 'SELECT window_start, country, page, count(*) AS views, avg(latency_ms) AS latency,\n max(abs(latency_ms)) AS slowest FROM TUMBLE(input, ts, INTERVAL 1 MINUTE) GROUP BY ALL', ...more});

test('only what adds up is added up in SQL', () => {
  const {sql} = aggregate();
  assert.deepEqual(['views', 'latency', 'slowest', 'low'].map(name => mergeOf(sql, name)), ['sum', null, 'max', null]);
  assert.equal(mergeOf('SELECT count(DISTINCT x) AS n FROM t', 'n'), null);
  assert.equal(mergeOf('SELECT sum(a) / count(*) AS n FROM t', 'n'), null);
  assert.equal(mergeOf('SELECT sum(a) FILTER (WHERE b > 1) AS n FROM t', 'n'), 'sum');
});

test('a question as SQL', () => {
  const question = {aggregate: 'a', from: '-15m', step: '5m', group_by: ['window_start', 'country'], measures: ['views', 'latency'], where: "page = '/'"};
  assert.deepEqual(sqlOf(question, aggregate()), {left: ['latency'],
    sql: "SELECT time_bucket(INTERVAL 5 MINUTE, window_start) AS window_start, country, sum(views) AS views\nFROM a\nWHERE window_start >= now() - INTERVAL 15 MINUTE\n  AND (page = '/')\nGROUP BY ALL"});
  const asItIs = {aggregate: 'a', from: '2026-01-01T00:00:00Z', group_by: ['window_start', 'country', 'page'], measures: ['latency']};
  assert.deepEqual(sqlOf(asItIs, aggregate()), {left: [], sql: "SELECT window_start, country, page, latency\nFROM a\nWHERE window_start >= TIMESTAMPTZ '2026-01-01T00:00:00Z'"});
  assert.equal(sqlOf({...asItIs, group_by: []}, aggregate()), null);
});

test('steps are multiples of the window', () => {
  assert.deepEqual(steps(aggregate({window_us: 600e6, window: '10m'})), ['1h', '6h', '1d']);
  assert.deepEqual(steps(aggregate({window: 'sessions 30m apart'})), []);
  assert.deepEqual(steps(aggregate({window: '1d Europe/Berlin', window_us: 86400e6})), []);
  assert.deepEqual(steps(aggregate({window: '1m every 10s'})).slice(0, 2), ['30s', '1m']);
});

test('growth goes back from today, and an optimize moves no rows', () => {
  const commit = (version, at, rows, added, removed, operation = 'STREAMING UPDATE') => ({version, files_added: added, files_removed: removed, commitInfo: {timestamp: 1000 * at, operation, operationMetrics: {numOutputRows: String(rows)}}});
  const history = [commit(4, 30, 5, 1, 0), commit(3, 20, 15, 1, 2, 'OPTIMIZE'), commit(2, 20, 10, 1, 0), commit(1, 10, 5, 1, 0), commit(0, 0, 0, 0, 0, 'CREATE TABLE')];
  const grown = growth(history, {name: 't', kind: 'events', version: 3, rows: 15, files: 1});
  assert.deepEqual(grown, {x: [0, 10_000, 20_000, 20_000], rows: [0, 5, 15, 15], files: [0, 1, 2, 1], rowsPerSecond: 0.75});
  const rewritten = [commit(2, 20, 7, 1, 1, 'WRITE'), commit(1, 10, 5, 1, 0)];
  assert.deepEqual(growth(rewritten, {name: 't', kind: 'events', version: 2, rows: 7, files: 1}).rows, [null, 7]);
});

const pipeline = (more = {}) => ({state: 'running', errors: [], source: {partitions: [{topic: 't', partition: 0, next_offset: 0, end_offset: 0, lag: 0, watermark: null, paused: false}]},
  rates: {}, totals: {records: 0, dead_letters: 0}, memory: {budget: 100, used: 1}, lookups: [], tables: [], ...more});

test('a healthy pipeline has nothing to say, and an unhealthy one all of it', () => {
  assert.deepEqual(diagnose([{at: 0, pipeline: pipeline()}], 0), []);
  assert.deepEqual(diagnose([], 0), []);
  const minute = of => Array.from({length: 61}, (_, s) => ({at: 1000 * s, pipeline: of(s)}));
  const lagging = minute(s => pipeline({totals: {records: 10 * s, dead_letters: 0}, source: {partitions: [{lag: 1000 * s}]}}));
  assert.match(diagnose(lagging, 60_000)[0].text, /^The log fills faster than it is read: 60,000 records wait, 60,000 more/);
  const letters = minute(s => pipeline({totals: {records: 100 * s, dead_letters: 20 * s}}));
  const [found] = diagnose(letters, 60_000);
  assert.equal(found.level, 'bad');
  assert.match(found.text, /^20 % of the records of the last minute became dead letters/);
  const away = pipeline({state: 'serving', workers: [{url: 'http://w1', state: 'answering'}, {url: 'http://w2', state: 'paused', error: 'timed out'}]});
  assert.deepEqual(diagnose([{at: 0, pipeline: away}], 0).map(f => f.text), ['Answers lack the rows that http://w2 has in memory: timed out.']);
  const held = pipeline({source: {partitions: [{lag: 5, waits_for: 'schema id 7 cannot be had'}, {lag: 0, waits_for: null}]}});
  assert.deepEqual(diagnose([{at: 0, pipeline: held}], 0).map(f => f.text), ['1 partition of 2 wait for a schema: schema id 7 cannot be had']);
  // Steady: many wait, no more than before.
  assert.deepEqual(diagnose(minute(s => pipeline({totals: {records: 10 * s, dead_letters: 0}, source: {partitions: [{lag: 100_000}]}})), 60_000), []);
});

test('the largest lines keep their order, and what is not finite is a gap', () => {
  const rows = [[0, 'a', 1], [0, 'b', 5], [0, 'c', 3], [1, 'b', 'inf'], [1, 'c', '2.5']].map(([t, k, n]) => ({window_start: new Date(60_000 * t).toISOString(), k, n}));
  assert.deepEqual(linesOf(rows, ['k'], ['n'], 2), {x: [0, 60_000], left: 1, lines: [{name: 'b', values: [5, null]}, {name: 'c', values: [3, 2.5]}]});
  assert.deepEqual(linesOf([], ['k'], ['n'], 2), {x: [], left: 0, lines: []});
});

test('bytes are shown whole, whatever they are', () => {
  const broken = new Uint8Array([0x7b, 0xff, 0xc3, 0xa4, 0xc3, 0x00, 0xf0, 0x9f, 0x98, 0x80]);
  assert.equal(toText(broken), '{\\xffä\\xc3\\x00😀');
  assert.equal(dump(fromHex('7b22ff')), '000000  7b 22 ff                                         {".');
  assert.match(dump(new Uint8Array(5000)), /… and 904 more bytes$/);
});

test('a tap keeps the newest, counts the rest, and says where it was away', () => {
  const start = {columns: ['id', 'country', '_topic', '_partition', '_offset', '_timestamp'], from: {}};
  let seen = withEvent(NOTHING, 'start', start);
  assert.deepEqual(seen, {...NOTHING, columns: ['id', 'country']});
  for (let i = 0; i < LINES_MAX + 5; ++i) seen = withEvent(seen, 'row', {id: i});
  assert.equal(seen.lines.length, LINES_MAX);
  assert.equal(seen.rows, LINES_MAX + 5);
  assert.equal(seen.lines[0].row.id, LINES_MAX + 4);
  assert.equal(new Set(seen.lines.map(line => line.key)).size, LINES_MAX);
  seen = withEvent(withEvent(seen, 'skipped', {records: 7}), 'skipped', {records: 3});
  assert.equal(seen.skipped, 10);
  seen = withEvent(seen, 'trouble', {detail: 'the broker is away'});
  assert.equal(seen.trouble, 'the broker is away');
  seen = withEvent(seen, 'dead_letter', {reason: 'bad_json'});
  assert.deepEqual([seen.letters, seen.trouble, seen.lines[0].kind], [1, null, 'letter']);
  for (let i = 0; i < 2; ++i) seen = withEvent(seen, 'start', start);
  assert.deepEqual(seen.lines.slice(0, 2).map(line => line.kind), ['gap', 'letter'], 'one gap, however often it tried');
  assert.equal(withEvent(seen, 'unheard_of', {}), seen);
});
