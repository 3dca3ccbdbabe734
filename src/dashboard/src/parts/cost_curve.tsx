/** The bill over the load, both logarithmic. */
import {PROVIDER_COLOUR, type Estimate} from '../data/cost';

const W = 760, H = 240, LEFT = 54, RIGHT = 14, TOP = 10, BOTTOM = 28;
const short = (n: number): string => (n >= 1e6 ? +(n / 1e6).toPrecision(3) + ' M' : n >= 1e3 ? +(n / 1e3).toPrecision(3) + ' k' : String(+n.toPrecision(3)));

export function CostCurve({latest}: {latest: Estimate}) {
  const curves = latest.curves.map(c => ({provider: c.provider, points: c.points.map(p => ({x: p.eventsPerSecond, y: Number(p.totalMonthlyCost)})).filter(p => p.y > 0)})).filter(c => c.points.length > 1);
  const all = curves.flatMap(c => c.points);
  if (all.length === 0) return null;
  const low = Math.min(...all.map(p => p.x)), high = Math.max(...all.map(p => p.x));
  const bottom = Math.floor(Math.log10(Math.min(...all.map(p => p.y)))), top = Math.max(bottom + 1, Math.ceil(Math.log10(Math.max(...all.map(p => p.y)))));
  const x = (v: number) => LEFT + (Math.log(v / low) / Math.log(high / low)) * (W - LEFT - RIGHT);
  const y = (v: number) => TOP + ((top - Math.log10(v)) / (top - bottom)) * (H - TOP - BOTTOM);
  const range = (from: number, to: number) => Array.from({length: Math.max(0, to - from + 1)}, (_, at) => 10 ** (from + at));
  const now = Number(latest.usage.find(u => u.name === 'events_per_second')?.value);
  const name = (provider: string) => latest.projects.find(p => p.metadata.provider === provider)?.metadata.providerName ?? provider;
  return (
    <>
      <svg class="curve" viewBox={`0 0 ${W} ${H}`} role="img" aria-label={`Cost over events a second: ${curves.map(c => `${name(c.provider)} from ${short(c.points[0]!.y)} to ${short(c.points.at(-1)!.y)}`).join('; ')}`}>
        {range(bottom, top).map(v => <><line class="grid" x1={LEFT} x2={W - RIGHT} y1={y(v)} y2={y(v)} /><text x={LEFT - 7} y={y(v) + 4} text-anchor="end">{short(v)}</text></>)}
        {range(Math.ceil(Math.log10(low) - 1e-9), Math.floor(Math.log10(high) + 1e-3)).map(v => <><line class="grid" x1={x(v)} x2={x(v)} y1={TOP} y2={H - BOTTOM} /><text x={x(v)} y={H - 9} text-anchor="middle">{short(v)}</text></>)}
        <line x1={x(now)} x2={x(now)} y1={TOP} y2={H - BOTTOM} stroke="var(--soft)" stroke-dasharray="3 4" /><text x={x(now) + 6} y={TOP + 11}>this load</text>
        {curves.map(c => (
          <g key={c.provider}>
            <polyline points={c.points.map(p => `${x(p.x)},${y(p.y)}`).join(' ')} fill="none" stroke={PROVIDER_COLOUR[c.provider]} stroke-width="2.2" />
            {c.points.map(p => <circle key={p.x} cx={x(p.x)} cy={y(p.y)} r="3" fill={PROVIDER_COLOUR[c.provider]}><title>{`${short(p.x)} events/s: ${p.y.toFixed(2)}`}</title></circle>)}
          </g>
        ))}
      </svg>
      <div class="legend">{curves.map(c => <span key={c.provider}><i style={{background: PROVIDER_COLOUR[c.provider]}} />{name(c.provider)}</span>)}</div>
    </>
  );
}
