/** What is wrong with a pipeline, in words, and what to do about it. */
import {bytes, count, duration, percent, plural, secondsSince} from '../format';
import {lagOf, rate, type Pipeline, type Sample} from './pipeline';

export type Stage = 'devices' | 'log' | 'ingest' | 'process' | 'lake' | 'api';
export interface Finding {
  stage: Stage;
  level: 'bad' | 'warn';
  text: string;
  way: string;
  link?: [label: string, path: string[]];
}

const over = (samples: readonly Sample[], seconds: number): readonly Sample[] => {
  const last = samples.at(-1);
  return last ? samples.filter(sample => sample.at >= last.at - 1000 * seconds) : [];
};
const grown = (samples: readonly Sample[], of: (p: Pipeline) => number): number =>
  samples.length < 2 ? 0 : of(samples.at(-1)!.pipeline) - of(samples[0]!.pipeline);

export function diagnose(samples: readonly Sample[], now = Date.now()): Finding[] {
  const p = samples.at(-1)?.pipeline;
  if (!p) return [];
  const found: Finding[] = [];
  const minute = over(samples, 60);
  for (const error of p.errors ?? []) found.push({stage: /lookup/.test(error) ? 'process' : 'ingest', level: 'bad', text: error, way: 'docs/operating.md says what each error means.'});
  if (p.state === 'failed') found.push({stage: 'ingest', level: 'bad', text: 'The pipeline has stopped.', way: 'The last lines of its log say why; what is committed stays right, and it goes on from there.'});

  const paused = p.source.partitions.filter(x => x.paused);
  if (paused.length > 0) {
    found.push({stage: 'log', level: 'warn', text: `${plural(paused.length, 'partition')} of ${p.source.partitions.length} wait: the memory limit is reached.`,
      way: 'It goes on by itself when rows are committed. If this stays, raise limits.memory or commit more often.', link: ['Partitions', ['source']]});
  }
  const waiting = p.source.partitions.filter(x => x.waits_for);
  if (waiting.length > 0) {
    found.push({stage: 'log', level: 'warn', text: `${plural(waiting.length, 'partition')} of ${p.source.partitions.length} wait for a schema: ${waiting[0].waits_for}`,
      way: 'They go on by themselves when the schema registry has answered. Nothing is lost meanwhile, and all others go on.', link: ['Partitions', ['source']]});
  }
  const lag = lagOf(p), lagGrew = grown(minute, lagOf), reading = rate(minute, 60, x => x.totals.records) ?? 0;
  if (minute.length > 10 && lagGrew > Math.max(1000, 0.1 * lag) && lag > 5 * reading) {
    found.push({stage: 'log', level: 'warn', text: `The log fills faster than it is read: ${count(lag)} records wait, ${count(lagGrew)} more than a minute ago.`,
      way: 'Start another worker of the same group, or give this one more cores.', link: ['Partitions', ['source']]});
  }
  const letters = grown(minute, x => x.totals.dead_letters), read = grown(minute, x => x.totals.records);
  if (letters > 0 && letters > 0.01 * read) {
    found.push({stage: 'ingest', level: letters > 0.1 * read ? 'bad' : 'warn', text: `${percent(letters, read)} of the records of the last minute became dead letters.`,
      way: 'Nothing is lost: look at why, mend it, and replay them.', link: ['Dead letters', ['letters']]});
  }
  for (const lookup of p.lookups) {
    if (lookup.error) found.push({stage: 'process', level: 'warn', text: `Lookup ${lookup.name}: ${lookup.error}`, way: `Events are joined with its rows of ${duration(lookup.age_seconds)} ago until it can be read.`});
  }
  if (p.memory.budget > 0 && p.memory.used > 0.9 * p.memory.budget) {
    found.push({stage: 'process', level: 'warn', text: `Memory is nearly used up: ${bytes(p.memory.used)} of ${bytes(p.memory.budget)}.`,
      way: 'At the limit reading pauses. Raise limits.memory, or commit more often.'});
  }
  for (const worker of p.workers ?? []) {
    if (worker.state !== 'failing' && worker.state !== 'paused') continue;
    found.push({stage: 'api', level: 'warn', text: `Answers lack the rows that ${worker.url} has in memory: ${worker.error ?? 'it does not answer'}.`,
      way: 'They hold what is committed of its partitions; as_of says up to where.'});
  }
  for (const table of p.tables) {
    if (!table.last_commit || !table.hot_rows) continue;
    const age = secondsSince(table.last_commit, now);
    if (age > Math.max(600, 20 * (table.commit_seconds ?? 0))) {
      found.push({stage: 'lake', level: 'warn', text: `${table.name} has had no commit for ${duration(age)}, and ${plural(table.hot_rows, 'row')} wait for one.`,
        way: 'If its interval is not that long, the lake does not take what is written: see the errors and the log.', link: [table.name, ['tables', table.name]]});
    }
  }
  return found;
}
