/** A question about an aggregate in other words: for a terminal, and as SQL. */
import type {Schemas} from './api';
import {target, token} from './api';
import type {Question} from './live_answer';

type Aggregate = Schemas['Aggregate'];

export const quoted = (name: string): string => (/^[a-z_][a-z0-9_]*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`);
export const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`;

export function curlOf(question: Question, format?: string): string {
  const url = location.origin + target('/v1/aggregates/{aggregate}', {...question, format});
  return `curl '${url}'` + (token.value ? ` \\\n  -H "Authorization: Bearer $TOKEN"` : '');
}

const UNITS: Record<string, string> = {s: 'SECOND', m: 'MINUTE', h: 'HOUR', d: 'DAY'};
/** "15m" -> "INTERVAL 15 MINUTE" */
const interval = (text: string): string => text.replace(/^(\d+)([smhd])$/, (_, n: string, unit: string) => `INTERVAL ${n} ${UNITS[unit]}`);
const moment = (text: string): string =>
  text.startsWith('-') ? `now() - ${interval(text.slice(1))}` : /^\d+$/.test(text) ? `to_timestamp(${text.length > 11 ? Number(text) / 1000 : text})` : `TIMESTAMPTZ ${literal(text)}`;

/** How rows of an aggregate add up to fewer: of measures for which SQL over its rows can say that. */
const MERGES: Record<string, string> = {count: 'sum', count_star: 'sum', sum: 'sum', min: 'min', max: 'max', bool_and: 'bool_and', bool_or: 'bool_or'};
export function mergeOf(aggregateSql: string, measure: string): string | null {
  const name = measure.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  const found = new RegExp(String.raw`(?:\bSELECT|,)\s*(\w+)\s*\(((?:[^()]|\([^()]*\))*)\)(?:\s*FILTER\s*\((?:[^()]|\([^()]*\))*\))?\s+AS\s+"?${name}"?(?!\w)`, 'i').exec(aggregateSql);
  return found && !/^\s*DISTINCT\b/i.test(found[2]!) ? MERGES[found[1]!.toLowerCase()] ?? null : null;
}

/**
 * The same answer from POST /v1/sql, or null: there is none. Measures such as an average cannot be made of the rows of an
 * aggregate, which have it for each window and all keys alone: where groups are to be put together they are `left`.
 */
export function sqlOf(question: Question, aggregate: Aggregate): {sql: string; left: string[]} | null {
  const groups = question.group_by;
  const timed = aggregate.window_us > 0, coarse = question.step !== undefined && question.step !== '';
  const asItIs = !coarse && aggregate.keys.every(key => groups.includes(key.name)) && (!timed || groups.includes('window_start'));
  const all = question.measures ?? aggregate.measures.map(m => m.name);
  const merged = all.map(name => [name, mergeOf(aggregate.sql, name)] as const);
  const left = asItIs ? [] : merged.filter(([, merge]) => !merge).map(([name]) => name);
  if (left.length === all.length) return null;
  const column = (group: string) =>
    group === 'window_start' && coarse ? `time_bucket(${interval(question.step!)}, window_start) AS window_start` : quoted(group);
  const columns = [...groups.filter(g => !(g === 'window_start' && question.step === '0')).map(column),
    ...merged.filter(([name]) => !left.includes(name)).map(([name, merge]) => (asItIs ? quoted(name) : `${merge}(${quoted(name)}) AS ${quoted(name)}`))];
  const conditions = [question.from && timed && `window_start >= ${moment(question.from)}`, question.to && timed && `window_start < ${moment(question.to)}`,
    question.where && `(${question.where})`].filter(Boolean);
  return {left, sql: [`SELECT ${columns.join(', ')}`, `FROM ${quoted(aggregate.name)}`, conditions.length ? `WHERE ${conditions.join('\n  AND ')}` : '',
    asItIs || groups.length === 0 ? '' : 'GROUP BY ALL', question.order_by?.length ? `ORDER BY ${question.order_by.join(', ')}` : '', question.limit ? `LIMIT ${question.limit}` : ''].filter(Boolean).join('\n')};
}

const SECONDS: Record<string, number> = {s: 1, m: 60, h: 3600, d: 86400};
export const spanSeconds = (text: string): number => {
  const found = /^-?(\d+)([smhd])$/.exec(text);
  return found ? Number(found[1]) * SECONDS[found[2]!]! : NaN;
};
export function span(seconds: number): string {
  for (const unit of ['d', 'h', 'm'] as const) if (seconds % SECONDS[unit]! === 0) return seconds / SECONDS[unit]! + unit;
  return Math.ceil(seconds) + 's';
}

/** Coarser windows that fit an aggregate's, each a multiple of it. Of sessions and calendar windows there are none. */
export function steps(aggregate: Aggregate): string[] {
  const window = aggregate.window_us / 1e6;
  if (window <= 0 || !/^\d+[smhd](?: every .*)?$/.test(aggregate.window)) return [];
  const slide = /every (\d+[smhd])$/.exec(aggregate.window);
  const unit = slide ? spanSeconds(slide[1]!) : window;
  return [1, 5, 10, 30, 60, 300, 900, 3600, 6 * 3600, 86400].filter(s => s > unit && s % unit === 0).map(span);
}
