/** How a table grew, from its commits. */
import type {Schemas} from './api';

export interface Commit {
  version: number;
  files_added: number;
  files_removed: number;
  commitInfo: {[name: string]: unknown};
}

const number = (value: unknown): number | null => (value == null || isNaN(Number(value)) ? null : Number(value));
const member = (value: unknown, name: string): unknown => (value && typeof value === 'object' ? (value as Record<string, unknown>)[name] : undefined);

/** Milliseconds since 1970; null: the commit does not say. */
export const timeOf = (commit: Commit): number | null => number(commit.commitInfo.timestamp);
export const operationOf = (commit: Commit): string => String(commit.commitInfo.operation ?? 'unknown');
export const writerOf = (commit: Commit): string => String(commit.commitInfo.engineInfo ?? '');
/** Rows that were added; null: rows may have been moved or taken away too, or it is not said. */
export const rowsAdded = (commit: Commit): number | null =>
  commit.files_added === 0 && commit.files_removed === 0 ? 0 : commit.files_removed === 0 ? number(member(commit.commitInfo.operationMetrics, 'numOutputRows')) : null;

export interface Growth {
  x: number[];
  rows: (number | null)[];
  files: number[];
  /** Over the commits that are known; null: too few. */
  rowsPerSecond: number | null;
}

/**
 * From today's state back, commit by commit, newest first. What rewrites files (optimize) leaves the rows as they were;
 * before a commit that says nothing of its rows they are not known.
 */
export function growth(history: readonly Commit[], table: Schemas['TableState']): Growth {
  let rows: number | null = table.rows ?? null, files = table.files ?? 0;
  const points: {at: number; rows: number | null; files: number}[] = [];
  let added = 0;
  for (const commit of history) {
    // The state is of one moment, the history of another: what was committed in between is not in the state.
    if (commit.version > table.version) continue;
    const at = timeOf(commit);
    if (at !== null) points.push({at, rows, files});
    files -= commit.files_added - commit.files_removed;
    const more = /OPTIMIZE|VACUUM/.test(operationOf(commit)) ? 0 : rowsAdded(commit);
    rows = rows === null || more === null ? null : rows - more;
    added += more ?? 0;
  }
  points.reverse();
  // The rows of the oldest commit came in the time before it.
  const oldest = history.at(-1), newest = points.at(-1);
  const seconds = points.length > 1 ? (newest!.at - points[0]!.at) / 1000 : 0;
  const since = added - (oldest ? rowsAdded(oldest) ?? 0 : 0);
  return {x: points.map(p => p.at), rows: points.map(p => p.rows), files: points.map(p => p.files), rowsPerSecond: seconds > 0 ? since / seconds : null};
}
