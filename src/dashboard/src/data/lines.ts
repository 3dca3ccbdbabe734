/** Rows of an answer as lines of a chart. */
import {cell, toNumber} from '../format';
import type {Schemas} from './api';

export interface LinesOf {
  x: number[];  // Milliseconds since 1970.
  lines: {name: string; values: (number | null)[]}[];
  left: number;  // Lines that are not among them.
}

/**
 * A line for each value of `keys` and each of `measures`, over `time`: the `most` that are largest in sum, by their names,
 * so that a line keeps its colour while the order by size changes.
 */
export function linesOf(rows: readonly Schemas['Row'][], keys: readonly string[], measures: readonly string[], most: number, time = 'window_start'): LinesOf {
  const times = [...new Set(rows.map(row => String(row[time])))].sort();
  const place = new Map(times.map((text, at) => [text, at]));
  const lines = new Map<string, {values: (number | null)[]; total: number}>();
  for (const row of rows) {
    for (const measure of measures) {
      const name = [...keys.map(key => cell(row[key])), ...(measures.length > 1 || keys.length === 0 ? [measure] : [])].join(' · ');
      let line = lines.get(name);
      if (!line) lines.set(name, (line = {values: new Array<number | null>(times.length).fill(null), total: 0}));
      // Infinity has no place on an axis, and would take the others' away: a gap.
      const value = toNumber(row[measure]);
      if (value === null || !isFinite(value)) continue;
      line.values[place.get(String(row[time]))!] = value;
      line.total += Math.abs(value);
    }
  }
  const largest = [...lines].sort(([, a], [, b]) => b.total - a.total).slice(0, most);
  return {x: times.map(text => Date.parse(text)), left: lines.size - largest.length,
    lines: largest.map(([name, {values}]) => ({name, values})).sort((a, b) => (a.name < b.name ? -1 : 1))};
}
