/** The state of the pipeline, once a second, and what the last minutes of it were. */
import {createContext} from 'preact';
import {useContext, useRef} from 'preact/hooks';

import {get, type Schemas} from './api';
import {usePolled, type Polled} from './polled';

export type Pipeline = Schemas['Pipeline'];
export interface Sample {
  at: number;  // Milliseconds since 1970.
  pipeline: Pipeline;
}
export interface Watched extends Polled<Pipeline> {
  samples: readonly Sample[];  // Of one process, oldest first, of the last minutes that this page saw.
}

const EVERY_MS = 1000;
const KEPT_MS = 5 * 60_000;

export function useWatched(): Watched {
  const samples = useRef<Sample[]>([]);
  const polled = usePolled('/v1/pipeline', signal => get('/v1/pipeline', {}, signal), EVERY_MS);
  const now = polled.value, last = samples.current.at(-1);
  if (now && now !== last?.pipeline) {
    const at = Date.now();
    const same = last !== undefined && last.pipeline.pipeline === now.pipeline && last.pipeline.uptime_seconds <= now.uptime_seconds;
    samples.current = [...(same ? samples.current.filter(sample => sample.at > at - KEPT_MS) : []), {at, pipeline: now}];
  }
  return {...polled, samples: samples.current};
}

export const PipelineContext = createContext<Watched>({value: null, problem: null, failingSince: null, samples: []});
export const usePipeline = (): Watched => useContext(PipelineContext);

export const sum = <T>(items: readonly T[], of: (item: T) => number | undefined): number =>
  items.reduce((total, item) => total + (of(item) ?? 0), 0);
export const lagOf = (p: Pipeline): number => sum(p.source.partitions, x => x.lag);
export const appendedOf = (p: Pipeline): number => sum(p.source.partitions, x => x.end_offset);
export const rowsOf = (p: Pipeline): number => sum(p.tables.filter(t => t.kind === 'events'), t => t.rows);

/** By how much `of` grew a second over the last `seconds`; null: less than a quarter of that is known. */
export function rate(samples: readonly Sample[], seconds: number, of: (p: Pipeline) => number): number | null {
  const last = samples.at(-1);
  const first = last && samples.find(sample => sample.at >= last.at - 1000 * seconds);
  if (!first || !last || last.at - first.at < 250 * seconds) return null;
  return Math.max(0, (1000 * (of(last.pipeline) - of(first.pipeline))) / (last.at - first.at));
}
