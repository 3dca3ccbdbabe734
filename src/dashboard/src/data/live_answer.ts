/** The answer to a question about an aggregate, kept up to date: pushed as it changes, or asked again where that fails. */
import {useEffect, useState} from 'preact/hooks';

import {useStore} from '../store';
import {get, locked, target, token, type Schemas} from './api';
import {follow} from './follow';
import {Problem} from './problem';
import {usePolled} from './polled';

export interface Question {
  aggregate: string;
  from?: string;
  to?: string;
  step?: string;
  group_by: string[];  // Empty: one row of all.
  where?: string;
  measures?: string[];
  order_by?: string[];
  limit?: number;
}
export interface LiveAnswer {
  meta: Schemas['Column'][];
  rows: Schemas['Row'][];
  as_of: Schemas['AsOf'] | null;
  errors: number;  // Groups in which a measure has no value.
  problem: Problem | null;
  how: 'pushed' | 'asked';
  elapsed: number | null;  // Seconds, of an answer that was asked for.
}
interface Change {
  meta?: Schemas['Column'][];
  data?: Schemas['Row'][];
  removed?: Schemas['Row'][];
  as_of?: Schemas['AsOf'];
  errors?: unknown[];
}

const POLL_MS = 2000;
const DRAW_MS = 100;  // Changes come more often than eyes follow.

/** Of groups, in the order in which they came: whoever shows them sorts them. `live`: false: asked once. */
export function useAnswer(question: Question, live: boolean): LiveAnswer | null {
  const url = target('/v1/aggregates/{aggregate}/stream', {...question});
  const [pushed, setPushed] = useState<{of: string; answer: LiveAnswer} | null>(null);
  const [refused, setRefused] = useState<string | null>(null);  // The question that is not pushed.
  const used = useStore(token), why = useStore(locked);
  const pushing = live && refused !== url && why === null;

  useEffect(() => {
    if (!pushing) return;
    const stop = new AbortController();
    let rows = new Map<string, Schemas['Row']>(), meta: Schemas['Column'][] = [], as_of: Schemas['AsOf'] | null = null;
    let errors = 0, failures = 0, timer: ReturnType<typeof setTimeout> | undefined;
    const name = (row: Schemas['Row']) => JSON.stringify(question.group_by.map(group => row[group]));
    const draw = () => (timer = undefined, setPushed({of: url, answer: {meta, rows: [...rows.values()], as_of, errors, problem: null, how: 'pushed', elapsed: null}}));
    void follow(url, {
      event(event, data) {
        const change = data as Change;
        failures = 0;
        if (event === 'error') return setRefused(url);
        if (event === 'snapshot') rows = new Map();
        if (change.meta) meta = change.meta;
        for (const row of change.removed ?? []) rows.delete(name(row));
        for (const row of change.data ?? []) rows.set(name(row), row);
        if (change.as_of) as_of = change.as_of;
        if (change.errors) errors = change.errors.length;
        if (event === 'snapshot') draw();
        else timer ??= setTimeout(draw, DRAW_MS);
      },
      trouble(problem) {
        // A stream that cannot be had: the question is asked instead, and an error of it is an error there too.
        if (problem && (problem.status > 0 || ++failures > 3)) setRefused(url);
      },
    }, stop.signal);
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [url, pushing, used]);

  const asked = usePolled(pushing ? '' : url, async signal => (pushing ? null : get('/v1/aggregates/{aggregate}', question, signal)), !pushing && live ? POLL_MS : null);
  if (pushing) return pushed?.of === url ? pushed.answer : null;
  if (!asked.value && !asked.problem) return pushed?.of === url ? pushed.answer : null;
  const answer = asked.value;
  return {meta: answer?.meta ?? [], rows: answer?.data ?? [], as_of: answer?.as_of ?? null, errors: answer?.errors?.length ?? 0,
    problem: asked.problem, how: 'asked', elapsed: answer?.statistics.elapsed ?? null};
}
