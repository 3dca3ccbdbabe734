/** The log as it comes, as an input or a transform sees it. */
import {useState} from 'preact/hooks';

import {target} from '../data/api';
import type {Pipeline} from '../data/pipeline';
import {stageOf} from '../data/reasons';
import {LINES_MAX, useTap, type Line} from '../data/tap';
import {cell, count, plural} from '../format';
import {change, usePlace} from '../router';
import {Card, Choice, Code, Empty, TextField, Trouble} from './basics';

const LAST = 5;
const LETTERS_MAX = 300;
const brief = (text: string) => (text.length > LETTERS_MAX ? text.slice(0, LETTERS_MAX) + '…' : text);

export function Tap({p}: {p: Pipeline}) {
  const {params} = usePlace();
  const [watching, watch] = useState(false);
  const relations = [...p.inputs.map(({name}) => [name, `${name}, as it comes`] as const), ...p.transforms.map(name => [name, `${name}, a transform`] as const)];
  const of = relations.some(([name]) => name === params.of) ? params.of! : relations[0]![0];
  const where = params.where || undefined;
  const chosen = p.transforms.includes(of) ? {transform: of} : {input: of};
  const {seen, problem, connected} = useTap(watching ? target('/v1/tap', {...chosen, where, last: LAST}) : null, () => watch(false));
  const {columns, lines} = seen;
  return (
    <Card title="Tap" side={<span class="hint" role="status">{!watching ? (lines.length ? 'stopped' : '') : connected ? 'watching' : 'connecting'}</span>}>
      <p class="lead">What is in the log now: the last {LAST} records of each partition, and what comes after them. The pipeline does not notice, and a tab that nobody sees watches nothing.</p>
      <form class="controls" aria-label="Tap" onSubmit={event => (event.preventDefault(), watch(true))}>
        <Choice label="Show" value={of} options={relations} onChange={to => change({of: to})} />
        <TextField label="Only where, in SQL" value={params.where ?? ''} onChange={to => change({where: to})} placeholder="country = 'DE' AND amount > 10" wide />
        {/* One button, which keeps the focus. Its type alone would not do: it is another one by the time that the click is over. */}
        <button type={watching ? 'button' : 'submit'} class={watching ? '' : 'primary'} onClick={event => watching && (event.preventDefault(), watch(false))}>{watching ? 'Stop' : 'Watch'}</button>
      </form>
      <Trouble problem={problem} />
      {seen.trouble && <div class="card notice mild" role="alert">{seen.trouble}</div>}
      {lines.length > 0 ? (
        <>
          <p class="hint">{plural(seen.rows, 'row')}, {plural(seen.letters, 'dead letter')}{seen.skipped > 0 && `, ${count(seen.skipped)} skipped: more came than are shown`}{seen.rows + seen.letters > LINES_MAX && `. Here are the newest ${LINES_MAX}`}.</p>
          <div class="scroll" tabIndex={0} role="region" aria-label="Events as they come">
            <table class="grid">
              <thead><tr><th scope="col">from</th>{columns.map(column => <th key={column} scope="col">{column}</th>)}</tr></thead>
              <tbody>{lines.map(line => <Event key={line.key} line={line} columns={columns} />)}</tbody>
            </table>
          </div>
        </>
      ) : watching && connected && <Empty>Nothing has come yet{where && ' for which this is true'}.</Empty>}
      <Code label="The same in a terminal" text={`millrace tap -c pipeline.yaml --${'transform' in chosen ? 'transform' : 'input'} ${of}${where ? ` --where "${where}"` : ''} --last ${LAST}`} />
    </Card>
  );
}

function Event({line, columns}: {line: Line; columns: readonly string[]}) {
  if (line.kind === 'gap') return <tr><td colSpan={columns.length + 1} class="null">What came here was not seen: the tap was away.</td></tr>;
  if (line.kind === 'letter') {
    const {letter} = line;
    return (
      <tr>
        <td title={letter.timestamp}>{letter.topic}[{letter.partition}] {letter.offset}</td>
        <td colSpan={columns.length} class="letter-cell"><b class="warn">{letter.reason}</b> <span class="hint">by {stageOf(letter.stage)}</span> {letter.detail} <code>{brief(letter.payload)}</code></td>
      </tr>
    );
  }
  const {row} = line;
  return (
    <tr>
      <td title={cell(row._timestamp)}>{cell(row._topic)}[{cell(row._partition)}] {cell(row._offset)}</td>
      {columns.map(column => <td key={column} class={row[column] == null ? 'null' : ''} title={brief(cell(row[column]))}>{brief(cell(row[column]))}</td>)}
    </tr>
  );
}
