/** What is asked again and again while somebody looks. */
import {useEffect, useState} from 'preact/hooks';

import {useStore} from '../store';
import {token} from './api';
import {isAbort, Problem, toProblem} from './problem';

export interface Polled<T> {
  value: T | null;  // The last one that came, also while there is a problem.
  problem: Problem | null;
  failingSince: number | null;  // Milliseconds since 1970.
}

const PAUSE_MAX_MS = 15_000;

/**
 * Asks at once, then `everyMs` after each answer (null: once), slower and slower while it fails, and not at all in a tab
 * that nobody sees. `key` says what is asked for: another one is another question, whose answer replaces the one before.
 */
export function usePolled<T>(key: string, ask: (signal: AbortSignal) => Promise<T>, everyMs: number | null): Polled<T> {
  const [state, setState] = useState<Polled<T> & {key: string}>({key, value: null, problem: null, failingSince: null});
  const used = useStore(token);
  useEffect(() => {
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let failures = 0, asking = false, done = false;
    const next = async () => {
      clearTimeout(timer);
      if (asking || done || document.hidden || stop.signal.aborted) return;
      asking = true;
      let pause = everyMs;
      try {
        const value = await ask(stop.signal);
        failures = 0;
        done = everyMs === null;
        setState({key, value, problem: null, failingSince: null});
      } catch (error) {
        if (stop.signal.aborted || isAbort(error)) return;
        const problem = toProblem(error);
        // What the question itself is to blame for fails again however often it is asked.
        done = everyMs === null && problem.status >= 400 && problem.status < 500 && problem.status !== 429;
        pause = Math.max(Math.min((everyMs ?? 1000) * 2 ** failures++, PAUSE_MAX_MS), 1000 * (problem.retryAfterSeconds ?? 0));
        setState(before => ({key, value: before.key === key ? before.value : null, problem, failingSince: before.failingSince ?? Date.now()}));
      } finally {
        asking = false;
      }
      if (!done && pause !== null) timer = setTimeout(next, pause);
    };
    void next();
    document.addEventListener('visibilitychange', next);
    return () => {
      stop.abort();
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', next);
    };
  }, [key, everyMs, used]);
  return state.key === key ? state : {value: null, problem: null, failingSince: null};
}
