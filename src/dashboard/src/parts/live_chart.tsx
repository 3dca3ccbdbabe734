/** The last windows of an aggregate while they come: its first measure, by its first key. */
import {useMemo} from 'preact/hooks';

import type {Schemas} from '../data/api';
import {useAnswer} from '../data/live_answer';
import {linesOf} from '../data/lines';
import {isNumeric} from '../format';
import {Chart} from './chart';
import {Empty, Loading, Trouble} from './basics';

const WINDOWS = 40;
const LINES_MAX = 6;

export function LiveChart({aggregate}: {aggregate: Schemas['Aggregate']}) {
  const measure = aggregate.measures.find(m => isNumeric(m.type));
  const key = aggregate.keys[0]?.name;
  const answer = useAnswer({aggregate: aggregate.name, from: `-${Math.ceil((WINDOWS * aggregate.window_us) / 1e6)}s`,
    group_by: ['window_start', ...(key ? [key] : [])], measures: measure && [measure.name]}, true);
  const data = useMemo(() => answer && measure && linesOf(answer.rows, key ? [key] : [], [measure.name], LINES_MAX), [answer]);
  if (!measure) return <Empty>None of its measures is a number.</Empty>;
  if (!answer) return <Loading />;
  if (answer.problem) return <Trouble problem={answer.problem} />;
  if (!data || data.x.length === 0) return <Empty>Nothing has come in the last {WINDOWS} windows of {aggregate.window}.</Empty>;
  return (
    <>
      <Chart data={data} label={`${measure.name} of ${aggregate.name}${key ? ' by ' + key : ''}`} />
      <p class="hint">{measure.name}{key && ` by ${key}`}, windows of {aggregate.window}{data.left > 0 && `, the largest ${LINES_MAX} of ${LINES_MAX + data.left}`}; the last window is still open.</p>
    </>
  );
}
