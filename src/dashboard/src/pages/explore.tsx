/** An aggregate: its measures by its keys, over a range, as a chart or a table; the URL says all of it. */
import {useMemo} from 'preact/hooks';

import {get, type Schemas} from '../data/api';
import {useAnswer, type LiveAnswer, type Question} from '../data/live_answer';
import {linesOf} from '../data/lines';
import {usePolled} from '../data/polled';
import {curlOf, literal, quoted, spanSeconds, sqlOf, steps} from '../data/question';
import {count, duration, isNumeric, plural, toNumber} from '../format';
import {Bars} from '../parts/bars';
import {Card, Chips, Choice, Code, Copy, Empty, Loading, Segments, TextField, TimeField, Trouble} from '../parts/basics';
import {Chart} from '../parts/chart';
import {Grid, type Row} from '../parts/grid';
import {change, go, href, usePlace, type Params} from '../router';

type Aggregate = Schemas['Aggregate'];
const RANGES = ['-1m', '-5m', '-15m', '-1h', '-6h', '-1d', '-7d', '-30d'];
const LINES_MAX = 7;
const ROWS_MAX = 10_000;
const NONE = '-';  // In the URL: chosen, and nothing of it.

export function ExplorePage() {
  const {path, params} = usePlace();
  const list = usePolled('/v1/aggregates', signal => get('/v1/aggregates', {}, signal), null);
  if (!list.value) return list.problem ? <Trouble problem={list.problem} /> : <Loading />;
  const aggregates = list.value.aggregates;
  if (aggregates.length === 0) {
    return <Card title="Explore"><Empty>This pipeline has no aggregates. Write one under <code>aggregates:</code> in its file: a SELECT with GROUP BY over a window of time. Until then its rows can be asked for in <a href="#/sql">SQL</a>.</Empty></Card>;
  }
  const aggregate = path[1] ? aggregates.find(a => a.name === path[1]) : aggregates.at(-1);
  const names = aggregates.map(a => [a.name, `${a.name} (${a.window_us > 0 ? a.window : 'no windows'})`] as const);
  return (
    <>
      {!aggregate && <Card><Empty>There is no aggregate '{path[1]}'.</Empty></Card>}
      <Card title={<Choice label="Aggregate" value={aggregate?.name ?? ''} options={aggregate ? names : [['', 'choose one'], ...names]} onChange={name => go(['explore', name])} />}
        side={<Copy text={location.href} label="Copy link" />}>
        {aggregate && <Controls aggregate={aggregate} params={params} />}
      </Card>
      {aggregate && <Answer key={aggregate.name} aggregate={aggregate} params={params} />}
    </>
  );
}

interface Asked {
  from: string;
  to: string;
  step: string;
  by: string[];
  measures: string[];
  where: string;
  view: 'chart' | 'table';
}

function asked(aggregate: Aggregate, params: Params): Asked {
  const list = (text: string | undefined, usual: string[], known: {name: string}[]) =>
    text === undefined ? usual : text.split(',').filter(name => known.some(k => k.name === name));
  const numbers = aggregate.measures.filter(m => isNumeric(m.type));
  const measures = list(params.m, [(numbers[0] ?? aggregate.measures[0]!).name], aggregate.measures);
  const timed = aggregate.window_us > 0;
  const usual = timed ? RANGES.find(range => spanSeconds(range) >= Math.max(300, 60 * (aggregate.window_us / 1e6))) ?? RANGES.at(-1)! : '';
  return {
    from: timed ? params.from ?? usual : '', to: timed ? params.to ?? '' : '', step: timed ? params.step ?? '' : '',
    by: list(params.by, aggregate.keys.slice(0, 1).map(k => k.name), aggregate.keys),
    measures: measures.length ? measures : [aggregate.measures[0]!.name], where: params.where ?? '',
    view: params.view === 'table' || numbers.length === 0 ? 'table' : 'chart',
  };
}

function Controls({aggregate, params}: {aggregate: Aggregate; params: Params}) {
  const now = asked(aggregate, params);
  const timed = aggregate.window_us > 0;
  const custom = timed && (now.to !== '' || !now.from.startsWith('-'));
  const ranges: [string, string][] = RANGES.map(range => [range, 'last ' + range.slice(1)]);
  if (!custom && !RANGES.includes(now.from)) ranges.push([now.from, 'last ' + now.from.slice(1)]);
  const setRange = (range: string) => {
    if (range !== 'custom') return change({from: range, to: undefined});
    const seconds = spanSeconds(now.from) || 3600;
    change({from: new Date(Date.now() - 1000 * seconds).toISOString().slice(0, 19) + 'Z', to: new Date().toISOString().slice(0, 19) + 'Z'});
  };
  return (
    <div class="controls">
      {timed && <Choice label="Range" value={custom ? 'custom' : now.from} options={[...ranges, ['custom', 'from … to …']]} onChange={setRange} />}
      {custom && <><TimeField label="From" value={now.from} onChange={from => change({from})} /><TimeField label="To" value={now.to} onChange={to => change({to})} /></>}
      {timed && <Choice label="Step" value={now.step} options={[['', `window (${aggregate.window})`], ...withValue(steps(aggregate), now.step).map(s => [s, s] as [string, string]), ['0', 'the whole range']]} onChange={step => change({step})} />}
      <Chips label="Measures" values={now.measures} options={aggregate.measures.map(m => m.name)} onChange={m => change({m: m.join(',')})} />
      {aggregate.keys.length > 0 && <Chips label="By" values={now.by} options={aggregate.keys.map(k => k.name)} onChange={by => change({by: by.join(',') || NONE})} />}
      <TextField wide label="Filter, in SQL" value={now.where} placeholder={aggregate.keys[0] ? `${quoted(aggregate.keys[0].name)} = '…'` : ''} onChange={where => change({where})} />
      <Segments label="Show as" value={now.view} options={[['chart', 'Chart'], ['table', 'Table']]} onChange={view => change({view})} />
    </div>
  );
}

const withValue = (options: string[], value: string): string[] => (value && value !== '0' && !options.includes(value) ? [...options, value] : options);

function Answer({aggregate, params}: {aggregate: Aggregate; params: Params}) {
  const now = asked(aggregate, params);
  const overTime = aggregate.window_us > 0 && now.step !== '0';
  const question: Question = {
    aggregate: aggregate.name, from: now.from || undefined, to: now.to || undefined, step: now.step || undefined,
    group_by: [...(overTime ? ['window_start'] : []), ...now.by], where: now.where || undefined, measures: now.measures,
  };
  const answer = useAnswer(question, now.to === '');
  const sql = sqlOf({...question, order_by: [overTime ? 'window_start DESC' : `${now.measures[0]} DESC`]}, aggregate);
  const onCell = (column: string, value: unknown) => {
    const condition = value === null ? `${quoted(column)} IS NULL` : `${quoted(column)} = ${literal(String(value))}`;
    change({where: now.where ? `${now.where} AND ${condition}` : condition});
  };
  return (
    <>
      <Trouble problem={answer?.problem ?? null} />
      <Card title={`${now.measures.join(', ')}${now.by.length ? ' by ' + now.by.join(', ') : ''}`} side={<Sense answer={answer} aggregate={aggregate} live={now.to === ''} />}>
        {!answer ? <Loading /> : answer.problem && answer.rows.length === 0 ? <Empty>There is no answer to show.</Empty>
          : answer.rows.length === 0 ? <Empty>No rows: nothing came in this range{now.where && <> for <code>{now.where}</code></>}. A longer range may have some.</Empty>
          : <Shown answer={answer} now={now} overTime={overTime} onCell={onCell} />}
      </Card>
      <details class="card"><summary>This request</summary>
        <Code label="curl" text={curlOf(question)} />
        <Code label="curl, as CSV" text={curlOf(question, 'csv')} />
        {sql ? <><Code label="SQL" text={sql.sql} /><p class="hint">{sql.left.length > 0 && `${sql.left.join(', ')} cannot be made of the rows of the aggregate: the request above puts it together of what is stored. `}<a href={href(['sql'], {q: sql.sql})}>Open in SQL</a></p></>
          : <p class="hint">As SQL it cannot be said: these measures do not add up over groups, the request above puts them together of what is stored.</p>}
        <Code label="The aggregate" text={aggregate.sql.trim()} />
      </details>
    </>
  );
}

function Sense({answer, aggregate, live}: {answer: LiveAnswer | null; aggregate: Aggregate; live: boolean}) {
  if (!answer?.as_of) return null;
  let offsets = 0;
  for (const partitions of Object.values(answer.as_of.offsets)) for (const next of Object.values(partitions)) offsets += next;
  return (
    <span class="hint">
      {live && (answer.how === 'pushed' ? 'live' : 'asked every 2 s')}{answer.elapsed !== null && ` · answered in ${duration(answer.elapsed)}`}
      {` · ${answer.as_of.version < 0 ? 'memory only' : `version ${answer.as_of.version} and memory`}, up to ${plural(offsets, 'record')}`}
      {answer.errors > 0 && ` · no value in ${answer.errors} of the groups`}{aggregate.window_us > 0 ? '' : ' · over all time'}
    </span>
  );
}

function Shown({answer, now, overTime, onCell}: {answer: LiveAnswer; now: Asked; overTime: boolean; onCell: (column: string, value: unknown) => void}) {
  const key = JSON.stringify([now.by, now.measures]);
  const lines = useMemo(() => linesOf(answer.rows, now.by, now.measures, LINES_MAX), [answer, key]);
  const rows = useMemo(() => sorted(answer.rows, overTime, now.measures[0]!), [answer, overTime, key]);
  if (now.view === 'table') return <Grid label="Answer" meta={answer.meta} rows={rows.slice(0, ROWS_MAX)} onCell={onCell} />;
  if (!overTime) return <Bars rows={rows} keys={now.by} measure={now.measures[0]!} />;
  return <><Chart data={lines} label={now.measures.join(', ')} height={320} /><p class="hint">{lines.left > 0 && `The largest ${LINES_MAX} of ${count(lines.left + LINES_MAX)}: a filter, or the table, shows others. `}{now.to === '' && 'The last window is still open.'}</p></>;
}

function sorted(rows: Row[], overTime: boolean, measure: string): Row[] {
  const byMeasure = (a: Row, b: Row) => (toNumber(b[measure]) ?? -Infinity) - (toNumber(a[measure]) ?? -Infinity);
  const byTime = (a: Row, b: Row) => (String(a.window_start) < String(b.window_start) ? 1 : String(a.window_start) > String(b.window_start) ? -1 : 0);
  return [...rows].sort((a, b) => (overTime && byTime(a, b)) || byMeasure(a, b));
}
