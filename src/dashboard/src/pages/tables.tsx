/** The lake's tables: how full they are and how they grow; of each its schema, versions, files and rows. */
import {useMemo} from 'preact/hooks';

import {get, type Schemas} from '../data/api';
import {growth, operationOf, rowsAdded, timeOf, writerOf, type Commit} from '../data/growth';
import {sum} from '../data/pipeline';
import {usePolled} from '../data/polled';
import {ago, bytes, clock, count, duration, percent, plural} from '../format';
import {Card, Code, Empty, Loading, Segments, TextField, Trouble} from '../parts/basics';
import {Chart} from '../parts/chart';
import {Grid} from '../parts/grid';
import {change, href, usePlace} from '../router';

type Table = Schemas['Table'];
const EVERY_MS = 5000;
const COMMITS = 200;
const FILES = 1000;
const DAY_S = 86_400;

export function TablesPage() {
  const {path} = usePlace();
  return path[1] === undefined ? <List /> : <One key={path[1]} name={path[1]} />;
}

function List() {
  const {value, problem, failingSince} = usePolled('/v1/tables', signal => get('/v1/tables', {}, signal), EVERY_MS);
  if (!value) return problem ? <Trouble problem={problem} /> : <Loading />;
  const tables = value.tables, all = sum(tables, t => (t.route ? 0 : t.bytes));
  return (
    <>
      <Trouble problem={problem} since={failingSince} />
      <Card title="Tables" side={tables.length > 0 && <span class="hint">{bytes(all)} in {plural(sum(tables, t => (t.route ? 0 : t.files)), 'file')}</span>}>
        {tables.length === 0 ? <Empty>There are no tables yet: they are made with the first record.</Empty> : (
          <div class="scroll" tabIndex={0} role="region" aria-label="Tables">
            <table>
              <thead><tr><th scope="col">name</th><th scope="col">kind</th><th scope="col" class="number">rows</th><th scope="col" class="number">size</th><th scope="col">of all</th><th scope="col" class="number">grows by</th><th scope="col" class="number">files</th><th scope="col" class="number">a file</th><th scope="col" class="number">version</th><th scope="col" class="number">last commit</th></tr></thead>
              <tbody>{tables.map(table => <Line key={table.name} table={table} all={all} />)}</tbody>
            </table>
          </div>
        )}
      </Card>
    </>
  );
}

function Line({table: t, all}: {table: Table; all: number}) {
  const perDay = usePerDay(t);
  return (
    <tr>
      <td><a href={href(['tables', t.name])}>{t.name}</a></td>
      <td>{t.route ? `of ${t.route.of}` : t.routes ? `${t.routes.length} tables` : t.kind.replace('_', ' ')}</td>
      <td class="number">{count(t.rows)}</td><td class="number">{bytes(t.bytes)}</td>
      <td><span class="meter" title={percent(t.bytes ?? 0, all)}><i style={{width: `${all > 0 ? (100 * (t.bytes ?? 0)) / all : 0}%`}} /></span></td>
      <td class="number">{perDay === null ? '–' : `${bytes(perDay)} a day`}</td>
      <td class="number">{count(t.files)}</td><td class="number">{t.files ? bytes((t.bytes ?? 0) / t.files) : '–'}</td>
      <td class="number">{t.version}</td><td class="number" title={t.last_commit ?? ''}>{ago(t.last_commit)}</td>
    </tr>
  );
}

/** At the pace of its last commits, with as many bytes a row as it has. */
function usePerDay(t: Table): number | null {
  const {value} = usePolled(`history of ${t.name}`, signal => (t.routes || t.version < 1 ? Promise.resolve(null) : get('/v1/tables/{table}/history', {table: t.name, limit: 30}, signal)), 60_000);
  return value ? bytesPerDay(value.history, t) : null;
}

function bytesPerDay(history: Commit[], t: Table): number | null {
  const pace = growth(history, t).rowsPerSecond;
  return pace === null || !t.rows ? null : (pace * DAY_S * (t.bytes ?? 0)) / t.rows;
}

const VIEWS = [['schema', 'Schema'], ['versions', 'Versions'], ['files', 'Files'], ['rows', 'Rows']] as const;
type View = (typeof VIEWS)[number][0];

function One({name}: {name: string}) {
  const {params} = usePlace();
  const view = (VIEWS.find(([of]) => of === params.show)?.[0] ?? 'schema') satisfies View;
  const {value: table, problem, failingSince} = usePolled(`/v1/tables/${name}`, signal => get('/v1/tables/{table}', {table: name}, signal), EVERY_MS);
  if (!table) return problem ? <><Trouble problem={problem} /><p><a href="#/tables">All tables</a></p></> : <Loading />;
  return (
    <>
      <Trouble problem={problem} since={failingSince} />
      <Card title={<><a href="#/tables">Tables</a> / {name}</>} side={<span class="hint">{table.kind.replace('_', ' ')}, version {table.version}</span>}>
        <dl class="facts">
          <div><dt>rows</dt><dd>{count(table.rows)}</dd></div><div><dt>in memory</dt><dd>{count(table.hot_rows)}</dd></div><div><dt>size</dt><dd>{bytes(table.bytes)}</dd></div>
          <div><dt>files</dt><dd>{count(table.files)}</dd></div><div><dt>last commit</dt><dd>{ago(table.last_commit)}</dd></div><div><dt>it took</dt><dd>{duration(table.commit_seconds)}</dd></div>
          <div class="wide"><dt>where it is</dt><dd class="path">{table.uri ?? '–'}</dd></div>
        </dl>
      </Card>
      <Segments label="What to show" value={view} options={VIEWS} onChange={show => change({show, where: undefined})} />
      {view === 'schema' ? <Schema table={table} /> : view === 'versions' ? <Versions table={table} /> : view === 'files' ? <Files table={table} /> : <Rows table={table} />}
    </>
  );
}

const Schema = ({table}: {table: Table}) => (
  <Card title="Schema">
    <div class="scroll" tabIndex={0} role="region" aria-label="Schema">
      <table><thead><tr><th scope="col">column</th><th scope="col">type</th><th scope="col" /></tr></thead>
        <tbody>{table.columns.map(c => <tr key={c.name}><td>{c.name}</td><td>{c.type}</td><td>{table.partition_by?.includes(c.name) ? 'partitions the table' : ''}</td></tr>)}</tbody></table>
    </div>
    {table.routes && <p>It stands for {plural(table.routes.length, 'table')}: {table.routes.map(r => <><a key={r} href={href(['tables', r])}>{r}</a> </>)}</p>}
    <Code label="Read it elsewhere" text={`duckdb -c "SELECT * FROM delta_scan('${table.uri ?? ''}') LIMIT 10"\nmillrace lake describe ${table.uri ?? ''}`} />
  </Card>
);

function Versions({table}: {table: Table}) {
  const {value, problem, failingSince} = usePolled(`versions of ${table.name}`, signal => get('/v1/tables/{table}/history', {table: table.name, limit: COMMITS}, signal), EVERY_MS);
  const grown = useMemo(() => value && growth(value.history, table), [value, table]);
  if (!value || !grown) return problem ? <Trouble problem={problem} /> : <Loading />;
  const perDay = bytesPerDay(value.history, table);
  return (
    <>
      <Trouble problem={problem} since={failingSince} />
      <Card title="Growth" side={<span class="hint">{perDay === null ? 'too few commits to say how fast' : `${bytes(perDay)} and ${count(Math.round(grown.rowsPerSecond! * DAY_S))} rows a day at this pace`}</span>}>
        <div class="two">
          <div><h3>Rows</h3><Chart label="Rows" height={200} data={{x: grown.x, lines: [{name: 'rows', values: grown.rows}]}} /></div>
          <div><h3>Files</h3><Chart label="Files" height={200} data={{x: grown.x, lines: [{name: 'files', values: grown.files}]}} /></div>
        </div>
      </Card>
      <Card title="Versions" side={<span class="hint">{value.history.length < COMMITS ? 'all that the log has' : `the last ${COMMITS}`}</span>}>
        {value.history.length === 0 ? <Empty>There is no commit yet.</Empty> : (
          <div class="scroll" tabIndex={0} role="region" aria-label="Versions">
            <table>
              <thead><tr><th scope="col">version</th><th scope="col">when</th><th scope="col">operation</th><th scope="col" class="number">rows added</th><th scope="col" class="number">files</th><th scope="col">by</th></tr></thead>
              <tbody>{value.history.map(c => (
                <tr key={c.version}>
                  <td>{c.version}</td><td title={new Date(timeOf(c) ?? NaN).toString()}>{timeOf(c) === null ? '–' : clock(timeOf(c)!, true)}</td><td>{operationOf(c)}</td>
                  <td class="number">{count(rowsAdded(c))}</td><td class="number">+{c.files_added} −{c.files_removed}</td><td>{writerOf(c)}</td>
                </tr>
              ))}</tbody>
            </table>
          </div>
        )}
      </Card>
    </>
  );
}

function Files({table}: {table: Table}) {
  const {value, problem} = usePolled(`files of ${table.name} ${table.version}`, signal => get('/v1/tables/{table}/files', {table: table.name, limit: FILES}, signal), null);
  if (!value) return problem ? <Trouble problem={problem} /> : <Loading />;
  if (value.files.length === 0) return <Card title="Files"><Empty>This version has no files.</Empty></Card>;
  const places = new Map<string, {files: number; rows: number; bytes: number}>();
  for (const file of value.files) {
    const name = Object.entries(file.partition).map(([column, of]) => `${column} = ${of ?? 'null'}`).join(', ') || 'not partitioned';
    const place = places.get(name) ?? {files: 0, rows: 0, bytes: 0};
    places.set(name, {files: place.files + 1, rows: place.rows + (file.rows ?? 0) - file.deleted_rows, bytes: place.bytes + file.size});
  }
  const largest = Math.max(...[...places.values()].map(p => p.bytes));
  return (
    <>
      {value.next && <div class="card notice mild">The table has more files than the {count(FILES)} that are counted here: <code>millrace lake files {table.uri}</code> lists all.</div>}
      <Card title="By partition">
        <div class="scroll" tabIndex={0} role="region" aria-label="By partition">
          <table>
            <thead><tr><th scope="col">partition</th><th scope="col" class="number">files</th><th scope="col" class="number">rows</th><th scope="col" class="number">size</th><th scope="col">of the largest</th></tr></thead>
            <tbody>{[...places].sort(([a], [b]) => (a < b ? 1 : -1)).map(([name, p]) => (
              <tr key={name}><td>{name}</td><td class="number">{count(p.files)}</td><td class="number">{count(p.rows)}</td><td class="number">{bytes(p.bytes)}</td><td><span class="meter"><i style={{width: `${(100 * p.bytes) / largest}%`}} /></span></td></tr>
            ))}</tbody>
          </table>
        </div>
      </Card>
      <Card title={`Files of version ${value.version}`} side={<span class="hint">{plural(value.files.length, 'file')}, the newest first</span>}>
        <div class="scroll" tabIndex={0} role="region" aria-label="Files">
          <table>
            <thead><tr><th scope="col">file</th><th scope="col" class="number">size</th><th scope="col" class="number">rows</th><th scope="col" class="number">bytes a row</th><th scope="col" class="number">written</th></tr></thead>
            <tbody>{[...value.files].sort((a, b) => b.modified_ms - a.modified_ms).slice(0, 200).map(f => (
              <tr key={f.path}><td class="path">{f.path}</td><td class="number">{bytes(f.size)}</td><td class="number">{count(f.rows)}{f.deleted_rows > 0 && ` − ${count(f.deleted_rows)}`}</td><td class="number">{f.rows ? (f.size / f.rows).toFixed(1) : '–'}</td><td class="number">{ago(f.modified_ms)}</td></tr>
            ))}</tbody>
          </table>
        </div>
      </Card>
    </>
  );
}

function Rows({table}: {table: Table}) {
  const {params} = usePlace();
  const where = params.where ?? '';
  const {value, problem} = usePolled(`rows of ${table.name} ${where}`, signal => get('/v1/tables/{table}/rows', {table: table.name, limit: 50, where: where || undefined}, signal), null);
  return (
    <Card title="Rows" side={<a href={href(['sql'], {q: `SELECT * FROM ${table.name}${where ? `\nWHERE ${where}` : ''}\nLIMIT 100`})}>open in SQL</a>}>
      <div class="controls"><TextField wide label="Filter, in SQL" value={where} placeholder={`${table.columns[0]?.name ?? 'id'} IS NOT NULL`} onChange={text => change({where: text})} /></div>
      <Trouble problem={problem} />
      {value ? value.rows === 0 ? <Empty>No row {where ? <>fits <code>{where}</code></> : 'is committed yet'}.</Empty> : <Grid label="Rows" meta={value.meta} rows={value.data} /> : !problem && <Loading />}
      {value && value.rows > 0 && <p class="hint">The first {value.rows} of version {value.as_of.version}, as they lie in the table.</p>}
    </Card>
  );
}
