/** SQL over everything: an editor that knows the tables, the answer as a grid or a chart, and as a file. */
import {useEffect, useRef, useState} from 'preact/hooks';

import {get, post, send, type Schemas} from '../data/api';
import {linesOf} from '../data/lines';
import {usePolled} from '../data/polled';
import {isAbort, toProblem, type Problem} from '../data/problem';
import {bytes, duration, isNumeric, isTime, plural} from '../format';
import {Bars} from '../parts/bars';
import {Card, Copy, Empty, Segments, Trouble} from '../parts/basics';
import {Chart} from '../parts/chart';
import type {Editor} from '../parts/editor';
import {Grid} from '../parts/grid';
import {change, usePlace} from '../router';

type SqlAnswer = Schemas['SqlAnswer'];
const LINES_MAX = 7;
const FILES = [['csv', 'CSV'], ['json', 'JSON'], ['parquet', 'Parquet'], ['arrow', 'Arrow']] as const;

export function SqlPage() {
  const {params} = usePlace();
  const box = useRef<HTMLDivElement>(null), editor = useRef<Editor | null>(null);
  const [answer, setAnswer] = useState<{sql: string; of: SqlAnswer} | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const running = useRef<AbortController | null>(null);
  const [runs, setRuns] = useState(false);
  const tables = usePolled('/v1/tables', signal => get('/v1/tables', {}, signal), 30_000);
  const aggregates = usePolled('/v1/aggregates', signal => get('/v1/aggregates', {}, signal), null);

  const ask = async <T,>(what: (sql: string, signal: AbortSignal) => Promise<T>): Promise<T | null> => {
    const sql = editor.current?.text().trim() ?? '';
    if (!sql) return null;
    running.current?.abort();
    const stop = (running.current = new AbortController());
    setProblem(null);
    setRuns(true);
    try {
      return await what(sql, stop.signal);
    } catch (error) {
      if (running.current === stop && !isAbort(error)) setProblem(toProblem(error));
      return null;
    } finally {
      if (running.current === stop) setRuns(false);
    }
  };
  const run = (before = '') => void ask(async (sql, signal) => {
    change({q: sql});
    const of = await post('/v1/sql', {sql: before + sql}, signal);
    setAnswer({sql, of});
  });
  const download = (format: string) => void ask(async (sql, signal) => {
    const response = await send('/v1/sql?format=' + format, signal, {method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify({sql})});
    const link = document.createElement('a');
    link.href = URL.createObjectURL(await response.blob());
    link.download = 'answer.' + format;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  });
  const onRun = useRef(run);
  onRun.current = run;

  useEffect(() => {
    let gone = false;
    void import('../parts/editor').then(({makeEditor}) => {
      if (gone) return;
      editor.current = makeEditor(box.current!, params.q ?? '', {run: () => onRun.current()});
      editor.current.focus();
      name();
      if (params.q) onRun.current();
    });
    return () => {
      gone = true;
      running.current?.abort();
      editor.current?.destroy();
      editor.current = null;
    };
  }, []);
  // A link from somewhere else, or the back button.
  useEffect(() => {
    if (params.q === undefined || !editor.current || editor.current.text().trim() === params.q) return;
    editor.current.setText(params.q);
    onRun.current();
  }, [params.q]);
  const name = () => {
    const names: Record<string, string[]> = {};
    for (const t of tables.value?.tables ?? []) names[t.name] = t.columns.map(c => c.name);
    for (const a of aggregates.value?.aggregates ?? []) names[a.name] = [...(a.window_us > 0 ? ['window_start', 'window_end'] : []), ...a.keys.map(k => k.name), ...a.measures.map(m => m.name)];
    editor.current?.setNames(names);
  };
  useEffect(name, [tables.value, aggregates.value]);

  const suggestions = [
    ...(aggregates.value?.aggregates ?? []).slice(-1).map(a => `SELECT ${[...(a.window_us > 0 ? ['window_start'] : []), a.keys[0]?.name, a.measures[0]!.name].filter(Boolean).join(', ')}\nFROM ${a.name}${a.window_us > 0 ? '\nWHERE window_start > now() - INTERVAL 10 MINUTE' : ''}\nORDER BY 1 DESC\nLIMIT 100`),
    ...(tables.value?.tables ?? []).filter(t => t.kind === 'events' && !t.route).slice(0, 1).flatMap(t => [`SELECT count(*) AS n\nFROM ${t.name}`, `SUMMARIZE ${t.name}`]),
  ];
  return (
    <>
      <Card title="SQL" side={<Copy text={location.href} label="Copy link" />}>
        <div class="editor" ref={box} />
        <div class="buttons">
          <button type="button" class="primary" onClick={() => run()} disabled={runs}>Run</button>
          {runs && <button type="button" onClick={() => (running.current?.abort(), setRuns(false))}>Cancel</button>}
          <button type="button" onClick={() => run('EXPLAIN ANALYZE ')} disabled={runs}>Explain</button>
          <span class="hint">Ctrl Enter runs it{runs && <span role="status"> · running …</span>}</span>
          <span class="grow" />
          {answer && <span class="hint">download <span class="links">{FILES.map(([format, text]) => <button type="button" class="link" key={format} onClick={() => download(format)}>{text}</button>)}</span></span>}
        </div>
        {!answer && suggestions.length > 0 && <div class="suggestions"><span class="hint">Try</span>{suggestions.map(s => <button type="button" key={s} onClick={() => (editor.current?.setText(s), run())}>{s.replace(/\s+/g, ' ')}</button>)}</div>}
      </Card>
      <Trouble problem={problem} />
      {answer && <Result key={answer.sql} answer={answer.of} view={params.view === 'chart' ? 'chart' : 'table'} />}
    </>
  );
}

function Result({answer, view}: {answer: SqlAnswer; view: 'table' | 'chart'}) {
  const read = Object.entries(answer.as_of.tables).map(([name, of]) => `${name} version ${of.version}${of.hot ? ' and memory' : ''}`).join(', ');
  const time = answer.meta.find(c => isTime(c.type)), numbers = answer.meta.filter(c => isNumeric(c.type));
  const keys = answer.meta.filter(c => !isNumeric(c.type) && c !== time);
  const drawn = numbers.length > 0 && answer.rows > 0 && (time !== undefined || keys.length > 0);
  return (
    <Card title={plural(answer.rows, 'row')} side={<Segments label="Show as" value={view} options={[['table', 'Table'], ['chart', 'Chart']]} onChange={to => change({view: to === 'chart' ? to : undefined})} />}>
      {answer.rows === 0 ? <Empty>The statement is right, and no row fits it.</Empty>
        : view === 'table' ? <Grid label="Answer" meta={answer.meta} rows={answer.data} />
        : !drawn ? <Empty>A chart needs a column of numbers, and one of times or texts beside it.</Empty>
        : time ? <Chart label="Answer" height={320} data={linesOf(answer.data, keys.map(k => k.name), numbers.map(n => n.name), LINES_MAX, time.name)} />
        : <Bars rows={answer.data} keys={keys.map(k => k.name)} measure={numbers[0]!.name} />}
      <p class="hint">{duration(answer.statistics.elapsed)} · {plural(answer.statistics.rows_read, 'row')} and {bytes(answer.statistics.bytes_read)} read{read && ` · ${read}`}</p>
    </Card>
  );
}
