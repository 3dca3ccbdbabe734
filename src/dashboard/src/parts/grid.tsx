/** Rows of an answer as a table. */
import {useState} from 'preact/hooks';

import {cell, count, isNumeric} from '../format';
import type {Schemas} from '../data/api';

export type Row = Schemas['Row'];
const SHOWN_AT_ONCE = 200;

export function Grid({meta, rows, onCell, label}: {meta: Schemas['Column'][]; rows: Row[]; label: string; onCell?: (column: string, value: unknown) => void}) {
  const [shown, show] = useState(SHOWN_AT_ONCE);
  return (
    <>
      <div class="scroll" tabIndex={0} role="region" aria-label={label}>
        <table class="grid">
          <thead><tr>{meta.map(column => <th key={column.name} scope="col" class={isNumeric(column.type) ? 'number' : ''} title={column.type}>{column.name}</th>)}</tr></thead>
          <tbody>
            {rows.slice(0, shown).map((row, at) => (
              <tr key={at}>
                {meta.map(column => {
                  const value = row[column.name];
                  const name = (isNumeric(column.type) ? 'number' : '') + (value == null ? ' null' : '');
                  return (
                    <td key={column.name} class={name}>
                      {onCell && !isNumeric(column.type) ? <button type="button" class="cell" title={`Only ${column.name} = ${cell(value)}`} onClick={() => onCell(column.name, value)}>{cell(value)}</button> : cell(value)}
                    </td>
                  );
                })}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {rows.length > shown && <button type="button" class="quiet" onClick={() => show(10 * shown)}>{count(rows.length - shown)} more rows</button>}
    </>
  );
}
