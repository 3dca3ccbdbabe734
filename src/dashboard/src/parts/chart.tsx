/** Lines over time or over numbers, by uPlot; colours are those of the style sheet. */
import {useEffect, useRef} from 'preact/hooks';
import uPlot from 'uplot';

import {clock, short} from '../format';

export interface Lines {
  x: number[];  // Milliseconds since 1970.
  lines: {name: string; values: (number | null)[]}[];
  /** stacked: as areas, one on the other, which add up. */
  kind?: 'lines' | 'stacked';
  show?: (value: number | null) => string;
}

const css = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const COLOURS = 7;
const ALONE_S = 30;  // What is seen before and after a point that is the only one.
export const colour = (at: number): string => `var(--s${Math.min(at, COLOURS - 1)})`;
const dark = matchMedia('(prefers-color-scheme: dark)');

export function Chart({data, label, height = 260}: {data: Lines; label: string; height?: number}) {
  const box = useRef<HTMLDivElement>(null), legend = useRef<HTMLDivElement>(null);
  const plot = useRef<{of: string; chart: uPlot} | null>(null);
  const latest = useRef(data);
  latest.current = data;

  useEffect(() => {
    const draw = () => {
      const {x, lines, kind} = latest.current;
      const of = JSON.stringify([lines.map(line => line.name), kind, x.length < 3, dark.matches]);
      const columns = [x.map(ms => ms / 1000), ...(kind === 'stacked' ? stacked(lines) : lines.map(line => line.values))] as uPlot.AlignedData;
      if (plot.current?.of === of) return plot.current.chart.setData(columns);
      plot.current?.chart.destroy();
      plot.current = {of, chart: new uPlot(options(latest, box.current!, legend.current!, height), columns, box.current!)};
    };
    draw();
    dark.addEventListener('change', draw);
    return () => dark.removeEventListener('change', draw);
  }, [data]);
  useEffect(() => {
    const element = box.current!;
    const resize = new ResizeObserver(() => plot.current?.chart.setSize({width: element.clientWidth, height}));
    resize.observe(element);
    return () => {
      resize.disconnect();
      plot.current?.chart.destroy();
      plot.current = null;
    };
  }, []);
  return <figure class="chart" aria-label={`${label}: ${words(data)}`} role="img"><div ref={box} /><div class="legend" ref={legend} aria-hidden="true" /></figure>;
}

// What a chart says to somebody who does not see it.
function words({x, lines, show = short}: Lines): string {
  if (x.length === 0) return 'no points';
  return lines.map(({name, values}) => {
    const known = values.filter(v => v !== null);
    return known.length === 0 ? `${name} has no values` : `${name} from ${show(Math.min(...known))} to ${show(Math.max(...known))}, last ${show(known.at(-1)!)}`;
  }).join('; ') + `; ${clock(x[0]!, true)} to ${clock(x.at(-1)!, true)}`;
}

function stacked(lines: Lines['lines']): number[][] {
  const tops: number[][] = [];
  // The first one is the lowest, and drawn last, before the others.
  for (const {values} of lines) {
    const below = tops.at(-1);
    tops.push(values.map((value, at) => (value ?? 0) + (below?.[at] ?? 0)));
  }
  return tops;
}

function options(latest: {current: Lines}, box: HTMLElement, legend: HTMLElement, height: number): uPlot.Options {
  const {lines, kind, x} = latest.current;
  const fine = () => (latest.current.x.at(-1) ?? 0) - (latest.current.x[0] ?? 0) < 20 * 60_000;
  const axis = {stroke: css('--soft'), grid: {stroke: css('--line'), width: 1}, ticks: {show: false}, font: '12px system-ui, sans-serif'};
  const drawLegend = (chart: uPlot) => {
    const now = latest.current, show = now.show ?? short;
    const at = chart.cursor.idx ?? now.x.length - 1;
    legend.replaceChildren(...now.lines.map((line, i) => {
      const entry = document.createElement('span'), dot = document.createElement('i'), value = document.createElement('b');
      dot.style.background = colour(i);
      value.textContent = ' ' + show(line.values[at] ?? null);
      entry.append(dot, line.name, value);
      return entry;
    }), ...(now.x[at] === undefined ? [] : [Object.assign(document.createElement('span'), {className: 'hint', textContent: clock(now.x[at], fine())})]));
  };
  const area = kind === 'stacked' || lines.length === 1;
  return {
    width: box.clientWidth, height, padding: [null, 28, null, null], cursor: {y: false, points: {size: 6}}, legend: {show: false},
    scales: {
      x: {range: (_, first, last) => (latest.current.x.length === 1 ? [first - ALONE_S, first + ALONE_S] : [first, last])},
      y: {range: (_, low, high) => [Math.min(0, low ?? 0), (high ?? 0) > 0 ? high * 1.08 : (low ?? 0) < 0 ? 0 : 1]},
    },
    axes: [
      {...axis, grid: {show: false}, size: 30, space: 84, values: (_, ticks) => ticks.map(tick => clock(1000 * tick, fine()).slice(-8))},
      {...axis, size: 62, values: (_, ticks) => ticks.map(tick => (latest.current.show ?? short)(tick))},
    ],
    series: [{}, ...lines.map((line, i) => ({
      label: line.name, width: 2, stroke: css(`--s${Math.min(i, COLOURS - 1)}`), fill: area ? css(`--s${Math.min(i, COLOURS - 1)}`) + (kind === 'stacked' ? '66' : '22') : undefined,
      spanGaps: false, points: {show: x.length < 3, size: 5},
    }))],
    bands: kind === 'stacked' ? lines.slice(1).map((_, i) => ({series: [i + 2, i + 1] as [number, number]})) : [],
    hooks: {setCursor: [drawLegend], setData: [drawLegend], ready: [drawLegend]},
  };
}
