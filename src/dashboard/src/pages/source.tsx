/** Where events come from: partitions, how far behind, how fast; and what they look like. */
import {useMemo} from 'preact/hooks';

import {get} from '../data/api';
import {lagOf, rate, sum, usePipeline, type Pipeline, type Sample} from '../data/pipeline';
import {usePolled} from '../data/polled';
import {ago, bytes, count, duration, exact, perSecond, plural, secondsSince} from '../format';
import {Card, Empty, Loading, Trouble} from '../parts/basics';
import {Chart} from '../parts/chart';
import {Grid} from '../parts/grid';
import {Tap} from '../parts/tap';
import {href} from '../router';

const RATE_SECONDS = 10;
type Partition = Pipeline['source']['partitions'][number];

export function SourcePage() {
  const {value: p, samples, problem} = usePipeline();
  if (!p) return problem ? null : <Loading />;
  const partitions = p.source.partitions;
  const lag = lagOf(p), arriving = rate(samples, RATE_SECONDS, x => sum(x.source.partitions, y => y.end_offset));
  const left = p.rates.records_per_second - (arriving ?? 0);
  return (
    <>
      <Card title="Source" side={<span class="hint">{p.source.kind}: {p.source.topics.join(', ')}</span>}>
        <dl class="facts">
          <div><dt>arrive</dt><dd>{perSecond(arriving)}</dd></div><div><dt>are read</dt><dd>{perSecond(p.rates.records_per_second)}</dd></div><div><dt>that is</dt><dd>{bytes(p.rates.bytes_per_second)}/s</dd></div>
          <div><dt>wait in the log</dt><dd>{count(lag)}</dd></div><div><dt>watermark</dt><dd>{p.watermark ? ago(p.watermark) : '–'}</dd></div>
          <div><dt>caught up</dt><dd>{lag <= Math.max(10, p.rates.records_per_second) ? 'yes' : left > 0 ? `in ${duration(lag / left)}` : 'not at this pace'}</dd></div>
        </dl>
        {partitions.length === 0 ? <Empty>No partition is assigned: either the topics have none yet, or other workers of the group have them all.</Empty> : <Pace samples={samples} />}
      </Card>
      {partitions.length > 0 && (
        <Card title="Partitions" side={<span class="hint">{plural(partitions.length, 'partition')}</span>}>
          <div class="scroll" tabIndex={0} role="region" aria-label="Partitions">
            <table>
              <thead><tr><th scope="col">partition</th><th scope="col" class="number">next offset</th><th scope="col" class="number">end of the log</th><th scope="col" class="number">lag</th><th scope="col" class="number">read</th><th scope="col" class="number">arrive</th><th scope="col" class="number">watermark</th><th scope="col" /></tr></thead>
              <tbody>{partitions.map(x => <Line key={`${x.topic} ${x.partition}`} of={x} samples={samples} />)}</tbody>
            </table>
          </div>
        </Card>
      )}
      <Tap p={p} />
      <Newest p={p} />
    </>
  );
}

const find = (p: Pipeline, of: Partition) => p.source.partitions.find(x => x.topic === of.topic && x.partition === of.partition);

function Line({of, samples}: {of: Partition; samples: readonly Sample[]}) {
  const pace = (member: 'next_offset' | 'end_offset') => rate(samples, RATE_SECONDS, p => find(p, of)?.[member] ?? of[member]);
  return (
    <tr>
      <td>{of.topic}[{of.partition}]</td><td class="number">{exact(of.next_offset)}</td><td class="number">{exact(of.end_offset)}</td><td class="number">{count(of.lag)}</td>
      <td class="number">{perSecond(pace('next_offset'))}</td><td class="number">{perSecond(pace('end_offset'))}</td>
      <td class="number" title={of.watermark ?? ''}>{of.watermark ? ago(of.watermark) : '–'}</td>
      <td>{of.waits_for ? <span class="warn" title={of.waits_for}>waits for a schema</span> : of.paused ? <span class="warn">paused: memory is used up</span> : of.watermark && secondsSince(of.watermark) > 60 && of.lag === 0 ? <span class="hint">quiet</span> : ''}</td>
    </tr>
  );
}

/** What this page saw of it. */
function Pace({samples}: {samples: readonly Sample[]}) {
  const at = samples.at(-1)?.at;
  const {lag, paces} = useMemo(() => {
    const x = samples.map(s => s.at);
    return {lag: {x, lines: [{name: 'records that wait', values: samples.map(s => lagOf(s.pipeline))}]},
      paces: {x, lines: [{name: 'arrive /s', values: samples.map((_, i) => rate(samples.slice(Math.max(0, i - RATE_SECONDS), i + 1), RATE_SECONDS, p => sum(p.source.partitions, y => y.end_offset)))},
        {name: 'read /s', values: samples.map(s => s.pipeline.rates.records_per_second)}]}};
  }, [at]);
  return (
    <div class="two">
      <div><h3>Lag</h3><Chart label="Lag" height={180} data={lag} /></div>
      <div><h3>Records a second</h3><Chart label="Records a second" height={180} data={paces} /></div>
    </div>
  );
}

function Newest({p}: {p: Pipeline}) {
  const table = p.tables.find(t => t.kind === 'events' && (t.rows ?? 0) > 0);
  const {value, problem} = usePolled(`newest of ${table?.name}`, signal => (table ? get('/v1/tables/{table}/rows', {table: table.name, order_by: '_timestamp desc', where: `_timestamp > '${new Date(Date.now() - 120_000).toISOString()}'`, limit: 10}, signal) : Promise.resolve(null)), null);
  if (!table) return null;
  return (
    <Card title="Newest events in the lake" side={<a href={href(['sql'], {q: `SELECT *\nFROM "${table.name}"\nWHERE _timestamp > now() - INTERVAL 10 MINUTE\nORDER BY _timestamp DESC\nLIMIT 100`})}>more in SQL</a>}>
      <Trouble problem={problem} />
      {value ? value.rows > 0 ? <Grid label="Newest events" meta={value.meta} rows={value.data} /> : <Empty>None was committed to {table.name} in the last two minutes.</Empty> : !problem && <Loading />}
    </Card>
  );
}
