/** The product's picture, alive: what flows where, how fast, and what is wrong. */
import {get} from '../data/api';
import {diagnose, type Finding, type Stage} from '../data/health';
import {appendedOf, lagOf, rate, rowsOf, sum, usePipeline, type Pipeline, type Watched} from '../data/pipeline';
import {usePolled} from '../data/polled';
import {LiveChart} from '../parts/live_chart';
import {Card, Code, Empty, Loading} from '../parts/basics';
import {ago, bytes, count, duration, perSecond, plural, secondsSince, short} from '../format';
import {href} from '../router';
import {requestsPerSecond, useRequests} from '../data/requests';

const RATE_SECONDS = 10;
const CHARTS_MAX = 2;

export function OverviewPage() {
  const watched = usePipeline();
  const {value: p, samples} = watched;
  const aggregates = usePolled('/v1/aggregates', signal => get('/v1/aggregates', {}, signal), null);
  if (!p) return watched.problem ? null : <Loading />;
  const findings = diagnose(samples);
  const charted = aggregates.value?.aggregates.filter(a => a.window_us > 0).slice(0, CHARTS_MAX) ?? [];
  const first = charted[0];
  return (
    <>
      <Picture p={p} watched={watched} findings={findings} />
      <Wrong findings={findings} />
      <div class={charted.length > 1 ? 'two' : ''}>
        {charted.map(a => <Card key={a.name} title="Live" side={<a href={href(['explore', a.name])}>explore {a.name}</a>}><LiveChart aggregate={a} /></Card>)}
      </div>
      {aggregates.value && aggregates.value.aggregates.length === 0 && <Card title="Live"><Empty>This pipeline has no aggregates. With one in <code>aggregates:</code> of its file, its numbers are here while they come.</Empty></Card>}
      <Tables p={p} />
      <div class="two">
        <Card title="Questions people have">
          <ul class="plain">
            {first && <li><a href={href(['explore', first.name], {from: '-1m', step: '0', view: 'table'})}>What came in the last minute?</a></li>}
            <li><a href={href(['tables'])}>How full is the lake, and how does it grow?</a></li>
            {p.totals.dead_letters > 0 && (
              <li><a href={href(['letters'])}>Why are there {plural(p.totals.dead_letters, 'dead letter')}?</a></li>
            )}
            <li><a href={href(['source'])}>Does it keep up?</a></li>
            <li><a href={href(['cost'])}>What does it cost a month?</a></li>
          </ul>
        </Card>
        <Code label="Ask it yourself" text={`curl '${location.origin}${first ? `/v1/aggregates/${first.name}?from=-10m` : '/v1/tables'}'\nmillrace sql --url ${location.origin} "SELECT …"`} />
      </div>
    </>
  );
}

function Picture({p, watched, findings}: {p: Pipeline; watched: Watched; findings: Finding[]}) {
  const requests = useRequests();
  const {samples} = watched;
  const of = (f: (x: Pipeline) => number) => rate(samples, RATE_SECONDS, f);
  const level = (stage: Stage) => findings.some(f => f.stage === stage && f.level === 'bad') ? 'bad' : findings.some(f => f.stage === stage) ? 'warn' : 'good';
  const still = watched.problem !== null || p.state !== 'running' && p.state !== 'serving';
  const behind = p.watermark ? secondsSince(p.watermark) : null;
  const made = (x: Pipeline) => x.totals.records + x.totals.further - x.totals.dead_letters - x.totals.filtered - x.totals.deduplicated - x.totals.tombstones;
  const hot = sum(p.tables.filter(t => t.kind === 'events'), t => t.hot_rows ?? 0);
  const asked = requestsPerSecond(requests);
  const stages: {stage: Stage; name: string; path: string[]; main: string; small: string; out: [number | null, string]}[] = [
    {stage: 'devices', name: 'Devices', path: ['source'], main: short(of(appendedOf)), small: 'events/s arrive', out: [of(appendedOf), 'appended to the log']},
    {stage: 'log', name: 'Log', path: ['source'], main: short(lagOf(p)), small: `wait in ${plural(p.source.partitions.length, 'partition')} (${p.source.kind})`, out: [p.rates.records_per_second, `read, ${bytes(p.rates.bytes_per_second)}/s`]},
    {stage: 'ingest', name: 'Ingest', path: ['letters'], main: short(p.totals.records), small: `decoded, ${plural(p.totals.dead_letters, 'dead letter')}`, out: [of(made), 'became rows']},
    {stage: 'process', name: 'Process', path: ['explore'], main: behind === null ? '–' : duration(behind), small: `watermark behind, ${plural(hot, 'row')} in memory`, out: [rate(samples, 60, rowsOf), 'committed, over the last minute']},
    {stage: 'lake', name: 'Lake', path: ['tables'], main: bytes(sum(p.tables, t => t.bytes)), small: `${short(sum(p.tables, t => t.rows))} rows in ${plural(sum(p.tables, t => t.files), 'file')}`, out: [asked, 'requests answered']},
    {stage: 'api', name: 'API', path: ['sql'], main: p.freshness_seconds === null ? '–' : duration(p.freshness_seconds), small: 'from the log to an answer', out: [null, '']},
  ];
  return (
    <section class={`card flow ${still ? 'still' : ''}`} aria-label="Flow of events">
      {stages.map(({stage, name, path, main, small, out}, at) => (
        <>
          <a class={`stage ${level(stage)}`} key={stage} href={href(path)} data-stage={stage}>
            <b><i />{name}<span class="sr">: {level(stage) === 'good' ? 'healthy' : 'look below'}</span></b><strong>{main}</strong><small>{small}</small>
          </a>
          {at + 1 < stages.length && (
            <div class={`arrow ${out[0] ? 'moves' : ''}`} key={`${stage}-out`} title={out[1]}><span>{perSecond(out[0])}</span><small class="sr">{out[1]}</small></div>
          )}
        </>
      ))}
    </section>
  );
}

function Wrong({findings}: {findings: Finding[]}) {
  if (findings.length === 0) return null;
  return (
    <div class={`card notice ${findings.some(f => f.level === 'bad') ? '' : 'mild'}`} role="alert">
      <ul>{findings.map(f => <li key={f.text}><b>{f.text}</b> {f.way} {f.link && <a href={href(f.link[1])}>{f.link[0]}</a>}</li>)}</ul>
    </div>
  );
}

function Tables({p}: {p: Pipeline}) {
  return (
    <Card title="Tables">
      {p.tables.length === 0 ? <Empty>There are no tables yet: they are made with the first record.</Empty> : (
        <div class="scroll" tabIndex={0} role="region" aria-label="Tables">
          <table>
            <thead><tr><th scope="col">name</th><th scope="col" class="number">committed rows</th><th scope="col" class="number">in memory</th><th scope="col" class="number">files</th><th scope="col" class="number">size</th><th scope="col" class="number">not yet committed</th><th scope="col" class="number">last commit</th><th scope="col" class="number">took</th></tr></thead>
            <tbody>
              {p.tables.map(t => (
                <tr key={t.name}>
                  <td><a href={href(['tables', t.name])}>{t.name}</a> <small class="kind">{t.kind.replace('_', ' ')}</small></td>
                  <td class="number">{count(t.rows)}</td><td class="number">{count(t.hot_rows)}</td><td class="number">{count(t.files)}</td><td class="number">{bytes(t.bytes)}</td>
                  <td class="number">{count(t.committed_lag_records)}</td><td class="number" title={t.last_commit ?? ''}>{ago(t.last_commit)}</td><td class="number">{duration(t.commit_seconds)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Card>
  );
}
