/** What comes into the log, as it comes: the newest of it, and how much was not shown. */
import {useEffect, useState} from 'preact/hooks';

import {useStore} from '../store';
import {token, type Schemas} from './api';
import {follow} from './follow';
import {Problem, type ProblemDocument} from './problem';

export interface Letter {
  topic: string;
  partition: number;
  offset: number | string;
  timestamp: string;
  payload: string;
  stage: string;
  reason: string;
  detail: string;
}
export type Line = {key: number} & ({kind: 'row'; row: Schemas['Row']} | {kind: 'letter'; letter: Letter} | {kind: 'gap'});

export interface Tapped {
  columns: readonly string[];  // Without where a row comes from.
  lines: readonly Line[];  // The newest first.
  rows: number;
  letters: number;
  skipped: number;  // Records.
  trouble: string | null;  // Of the log; it passes.
}

export const NOTHING: Tapped = {columns: [], lines: [], rows: 0, letters: 0, skipped: 0, trouble: null};
export const LINES_MAX = 100;
const DRAW_MS = 250;  // Events come more often than eyes follow.

/** `before` and one event of the stream more. */
export function withEvent(before: Tapped, name: string, data: unknown): Tapped {
  const key = (before.lines[0]?.key ?? 0) + 1;
  const add = (line: Line, more: Partial<Tapped>): Tapped => ({...before, trouble: null, lines: [line, ...before.lines].slice(0, LINES_MAX), ...more});
  switch (name) {
    case 'start': {
      const columns = (data as {columns: string[]}).columns.filter(column => !column.startsWith('_'));
      // It was away: what came meanwhile is not here.
      return before.lines.length === 0 || before.lines[0]!.kind === 'gap' ? {...before, columns} : add({key, kind: 'gap'}, {columns});
    }
    case 'row':
      return add({key, kind: 'row', row: data as Schemas['Row']}, {rows: before.rows + 1});
    case 'dead_letter':
      return add({key, kind: 'letter', letter: data as Letter}, {letters: before.letters + 1});
    case 'skipped':
      return {...before, skipped: before.skipped + (data as {records: number}).records};
    case 'trouble':
      return {...before, trouble: (data as {detail: string}).detail};
    default:
      return before;
  }
}

/** `path`: of the tap; null: nothing is watched, and what was seen stays. `onEnd`: the server says that it cannot be. */
export function useTap(path: string | null, onEnd: () => void): {seen: Tapped; problem: Problem | null; connected: boolean} {
  const [seen, setSeen] = useState(NOTHING);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [connected, setConnected] = useState(false);
  const used = useStore(token);
  useEffect(() => {
    if (path === null) return;
    const stop = new AbortController();
    let now = NOTHING, timer: ReturnType<typeof setTimeout> | undefined;
    const draw = () => (timer = undefined, setSeen(now));
    setSeen(NOTHING);
    setProblem(null);
    void follow(path, {
      event(name, data) {
        if (name === 'error') return setProblem(new Problem(data as ProblemDocument));
        if (name === 'start') setConnected(true), setProblem(null);
        now = withEvent(now, name, data);
        timer ??= setTimeout(draw, DRAW_MS);
      },
      trouble(failed) {
        if (failed) setProblem(failed), setConnected(false);
      },
    }, stop.signal).then(() => stop.signal.aborted || onEnd());
    return () => {
      stop.abort();
      clearTimeout(timer);
      setSeen(now);
      setConnected(false);
    };
  }, [path, used]);
  return {seen, problem, connected};
}
