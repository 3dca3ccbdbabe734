/** The largest values of a measure, as bars. */
import {cell, short, toNumber} from '../format';
import type {Row} from './grid';

const BARS_MAX = 25;

export function Bars({rows, keys, measure}: {rows: Row[]; keys: string[]; measure: string}) {
  const largest = Math.max(...rows.map(row => Math.abs(toNumber(row[measure]) ?? 0)).filter(isFinite), Number.MIN_VALUE);
  return (
    <>
      <table class="bars-table">
        <thead class="sr"><tr><th scope="col">{keys.join(', ') || 'all'}</th><th scope="col">bar</th><th scope="col">{measure}</th></tr></thead>
        <tbody>
          {rows.slice(0, BARS_MAX).map((row, at) => (
            <tr key={at}>
              <th scope="row">{keys.map(key => cell(row[key])).join(' · ') || 'all'}</th>
              <td><i style={{width: `${(100 * Math.min(Math.abs(toNumber(row[measure]) ?? 0), largest)) / largest}%`}} /></td>
              <td class="number" title={cell(row[measure])}>{short(toNumber(row[measure]))}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {rows.length > BARS_MAX && <p class="hint">The largest {BARS_MAX} of {rows.length}: the table shows all.</p>}
    </>
  );
}
