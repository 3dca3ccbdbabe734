/** Dead letters: what kept records out of the tables, over time; samples with their bytes; what would mend them. */
import {useMemo} from 'preact/hooks';

import {get, post, type Schemas} from '../data/api';
import {linesOf} from '../data/lines';
import {dump, fromHex, toText} from '../data/payload';
import {usePipeline} from '../data/pipeline';
import {usePolled} from '../data/polled';
import {Problem} from '../data/problem';
import {literal} from '../data/question';
import {mendOf, stageOf} from '../data/reasons';
import {ago, bytes, clock, count, percent, plural} from '../format';
import {Card, Choice, Code, Empty, Loading, Segments, Trouble} from '../parts/basics';
import {Chart, colour} from '../parts/chart';
import {change, href, usePlace} from '../router';

type Row = Schemas['Row'];
const EVERY_MS = 10_000;
const NEWEST = 1000;  // Counted where SQL may not be asked.
const SAMPLES = 10;
/** Range, and how wide a point of the chart is. */
const RANGES = {'15m': ['15 minutes', 15], '1h': ['hour', 60], '6h': ['6 hours', 300], '1d': ['day', 1800], '7d': ['7 days', 10_800], '30d': ['30 days', 43_200]} as const;
const SECONDS: Record<keyof typeof RANGES, number> = {'15m': 900, '1h': 3600, '6h': 21_600, '1d': 86_400, '7d': 604_800, '30d': 2_592_000};

interface Counted {
  rows: Row[];  // t, stage, reason, n
  ofNewest: boolean;
}

export function LettersPage() {
  const {params} = usePlace();
  const {value: pipeline} = usePipeline();
  const range = (params.range && params.range in RANGES ? params.range : '1h') as keyof typeof RANGES;
  const tables = usePolled('/v1/tables', signal => get('/v1/tables', {}, signal), EVERY_MS);
  const table = tables.value?.tables.find(t => t.kind === 'dead_letters');
  const counted = usePolled(`dead letters ${table?.name} ${range}`, signal => (table ? countLetters(table.name, range, signal) : Promise.resolve(null)), EVERY_MS);

  if (!tables.value) return tables.problem ? <Trouble problem={tables.problem} /> : <Loading />;
  if (!table || (!table.rows && !table.hot_rows)) {
    return <Card title="Dead letters"><Empty>There are no dead letters: every record became a row.{pipeline && ` ${plural(pipeline.totals.records, 'record')} came since this process began.`}</Empty></Card>;
  }
  return (
    <>
      <Trouble problem={counted.problem} since={counted.failingSince} />
      <Card title="Dead letters" side={<span class="hint">{plural(table.rows ?? 0, 'letter')} in {table.name}, of all time</span>}>
        <p class="lead">A record that does not fit is not lost: it is here with its bytes, where it came from and why, and can be run again once the cause is mended.</p>
        <Choice label="Over the last" value={range} options={Object.entries(RANGES).map(([of, [text]]) => [of as keyof typeof RANGES, text])} onChange={to => change({range: to})} />
        {!counted.value ? !counted.problem && <Loading /> : counted.value.rows.length === 0 ? <Empty>None in this time; a longer one may have some.</Empty> : <Reasons counted={counted.value} range={range} chosen={params.reason} />}
      </Card>
      <Samples table={table.name} reason={params.reason} rows={table.rows ?? 0} />
    </>
  );
}

async function countLetters(table: string, range: keyof typeof RANGES, signal: AbortSignal): Promise<Counted> {
  const step = RANGES[range][1];
  const since = new Date(Date.now() - 1000 * SECONDS[range]).toISOString();
  const sql = `SELECT time_bucket(INTERVAL ${step} SECOND, timestamp) AS t, stage, reason, count(*) AS n FROM "${table}" WHERE timestamp >= $1 GROUP BY ALL ORDER BY t`;
  try {
    return {rows: (await post('/v1/sql', {sql, params: [since]}, signal)).data, ofNewest: false};
  } catch (error) {
    if (!(error instanceof Problem) || error.code !== 'insufficient_scope') throw error;
  }
  const {data} = await get('/v1/tables/{table}/rows', {table, columns: 'timestamp,stage,reason', where: `timestamp >= '${since}'`, order_by: 'timestamp desc', limit: NEWEST}, signal);
  const groups = new Map<string, Row>();
  for (const row of data) {
    const t = new Date(Math.floor(Date.parse(String(row.timestamp)) / (1000 * step)) * 1000 * step).toISOString();
    const name = JSON.stringify([t, row.stage, row.reason]);
    groups.set(name, {t, stage: row.stage, reason: row.reason, n: Number(groups.get(name)?.n ?? 0) + 1});
  }
  return {rows: [...groups.values()], ofNewest: data.length === NEWEST};
}

function Reasons({counted, range, chosen}: {counted: Counted; range: keyof typeof RANGES; chosen: string | undefined}) {
  const {lines, x, reasons, all} = useMemo(() => {
    const {lines, x} = filled(linesOf(counted.rows, ['reason'], ['n'], 6, 't'), RANGES[range][1]);
    const groups = new Map<string, {stage: string; reason: string; n: number; last: string}>();
    for (const row of counted.rows) {
      const name = `${row.stage} ${row.reason}`, n = Number(row.n), t = String(row.t);
      const group = groups.get(name);
      groups.set(name, {stage: String(row.stage), reason: String(row.reason), n: n + (group?.n ?? 0), last: group && group.last > t ? group.last : t});
    }
    const reasons = [...groups.values()].sort((a, b) => b.n - a.n);
    return {lines, x, reasons, all: reasons.reduce((total, r) => total + r.n, 0)};
  }, [counted]);
  return (
    <>
      <Chart label="Dead letters by reason" height={200} data={{x, lines, kind: 'stacked', show: count}} />
      {counted.ofNewest && <p class="hint">Of the newest {count(NEWEST)}: with a token that may use <code>sql</code> all are counted.</p>}
      <ul class="reasons">
        {reasons.map(r => (
          <li key={r.stage + r.reason} class={chosen === r.reason ? 'chosen' : ''}>
            <button type="button" aria-pressed={chosen === r.reason} onClick={() => change({reason: chosen === r.reason ? undefined : r.reason})}>
              <i style={{background: colour(Math.max(0, lines.findIndex(line => line.name === r.reason)))}} /><b>{r.reason}</b> <span class="hint">by {stageOf(r.stage)}</span>
              <span class="grow" /><b>{count(r.n)}</b> <span class="hint">{percent(r.n, all)}</span>
            </button>
            <p>{mendOf(r.reason).means} <b>To mend it:</b> {mendOf(r.reason).way}</p>
          </li>
        ))}
      </ul>
    </>
  );
}

/** A time in which nothing came is zero, not a line from one to the next. */
function filled({x, lines}: {x: number[]; lines: {name: string; values: (number | null)[]}[]}, stepSeconds: number) {
  const step = 1000 * stepSeconds, end = Math.floor(Date.now() / step) * step;
  const times: number[] = [];
  for (let t = x[0]!; t <= Math.max(end, x.at(-1)!) && times.length < 2000; t += step) times.push(t);
  const place = new Map(x.map((t, at) => [t, at]));
  return {x: times, lines: lines.map(line => ({name: line.name, values: times.map(t => (place.has(t) ? line.values[place.get(t)!] ?? 0 : 0))}))};
}

function Samples({table, reason, rows}: {table: string; reason: string | undefined; rows: number}) {
  const {params} = usePlace();
  const where = reason ? `reason = ${literal(reason)}` : undefined;
  // Asked anew when there are more of them.
  const {value, problem} = usePolled(`samples ${table} ${reason ?? ''} ${rows}`, signal => get('/v1/tables/{table}/rows', {table, where, order_by: 'timestamp desc', limit: SAMPLES}, signal), null);
  const as = params.bytes === 'hex' ? 'hex' : 'text';
  return (
    <Card title={reason ? `Samples of ${reason}` : 'Samples'} side={<Segments label="Bytes as" value={as} options={[['text', 'Text'], ['hex', 'Bytes']]} onChange={to => change({bytes: to === 'hex' ? 'hex' : undefined})} />}>
      <Trouble problem={problem} />
      {!value ? !problem && <Loading /> : value.data.length === 0 ? <Empty>None of this reason.</Empty> : value.data.map(row => <Letter key={`${row.topic} ${row.partition} ${row.offset} ${row.stage}`} row={row} hex={as === 'hex'} />)}
      {value && value.data.length > 0 && (
        <>
          <p class="hint">The newest {value.data.length}. <a href={href(['sql'], {q: `SELECT * FROM "${table}"${where ? `\nWHERE ${where}` : ''}\nORDER BY timestamp DESC\nLIMIT 100`})}>More in SQL</a></p>
          <Code label="Once the cause is mended: run them again" text={`millrace dlq replay -c pipeline.yaml${where ? ` --where "${where}"` : ''} --dry-run\nmillrace dlq replay -c pipeline.yaml${where ? ` --where "${where}"` : ''}`} />
        </>
      )}
    </Card>
  );
}

function Letter({row, hex}: {row: Row; hex: boolean}) {
  const payload = row.payload == null ? null : fromHex(String(row.payload));
  const key = row.key == null ? null : fromHex(String(row.key));
  const headers = Array.isArray(row.headers) ? (row.headers as {key: string; value: string | null}[]) : [];
  const time = Date.parse(String(row.timestamp));
  const shown = (of: Uint8Array) => (hex ? dump(of) : toText(of));
  return (
    <article class="letter">
      <div class="head"><b>{String(row.reason)}</b> <span class="hint">by {stageOf(String(row.stage))}</span><span class="grow" />
        <span class="hint" title={String(row.timestamp)}>{clock(time, true)}, {ago(time)}</span></div>
      <p>{String(row.detail)}</p>
      <pre tabIndex={0} aria-label="Bytes of the record">{payload === null ? '(no bytes: a tombstone)' : payload.length === 0 ? '(empty)' : shown(payload)}</pre>
      <p class="hint">{String(row.topic)}[{String(row.partition)}] offset {String(row.offset)}{payload && ` · ${bytes(payload.length)}`}{key && <> · key <code>{toText(key)}</code></>}
        {headers.map(h => <> · <code>{h.key}: {h.value === null ? 'null' : toText(fromHex(h.value))}</code></>)}</p>
    </article>
  );
}
