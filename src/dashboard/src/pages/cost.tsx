/** What this load costs a month, at each provider, and why. */
import {useEffect, useState} from 'preact/hooks';

import {get} from '../data/api';
import {estimate, flatten, PROVIDER_COLOUR, seconds, usageOf, valueOf, type Asked, type Estimate, type Load, type Project} from '../data/cost';
import {usePolled} from '../data/polled';
import {toProblem} from '../data/problem';
import {Card, Choice, Loading, Trouble} from '../parts/basics';
import {CostCurve} from '../parts/cost_curve';
import {change, usePlace} from '../router';
import {useDebounced} from '../parts/debounced';

const CATEGORIES = ['Compute', 'Event log', 'Database storage', 'Load balancer', 'CDN and bandwidth', 'Traffic between zones', 'Kubernetes and NAT', 'SQL database'];
const RANKED_AT_FIRST = 12;

const money = (text: string | number): string => Number(text).toLocaleString('en-US', {minimumFractionDigits: 2, maximumFractionDigits: 2});
const number = (n: number): string => (n >= 1e4 ? Math.round(n).toLocaleString('en-US') : String(+n.toPrecision(4)));
const span = (s: number): string => (s >= 172_800 ? number(s / 86_400) + ' d' : s >= 7200 ? number(s / 3600) + ' h' : s >= 120 ? number(s / 60) + ' min' : number(s) + ' s');
const size = (n: number): string => (n >= 1e6 ? number(n / 1e6) + ' MB' : n >= 1e3 ? number(n / 1e3) + ' kB' : number(n) + ' B');

/** Logarithmic from low to high; `write` makes the value of the field. */
interface Slider {
  field: string;
  label: string;
  low: number;
  high: number;
  show: (v: number) => string;
  write: (v: number) => unknown;
}
const asIs = (v: number): unknown => v;
const whole = (v: number): unknown => Math.round(v);
const SLIDERS: Slider[] = [
  {field: 'events_per_second', label: 'events a second', low: 1, high: 1e6, show: number, write: asIs},
  {field: 'bytes_per_event', label: 'bytes an event', low: 20, high: 1e5, show: size, write: whole},
  {field: 'peak_factor', label: 'peak over average', low: 1, high: 20, show: v => '× ' + number(v), write: asIs},
  {field: 'broker.retention', label: 'log keeps', low: 3600, high: 2_592_000, show: span, write: v => Math.round(v) + 's'},
  {field: 'lake.retention', label: 'lake keeps', low: 86_400, high: 157_680_000, show: span, write: v => Math.round(v) + 's'},
  {field: 'lake.commit', label: 'a commit every', low: 1, high: 3600, show: span, write: v => v.toFixed(3) + 's'},
  {field: 'serve.queries_per_second', label: 'queries a second', low: 0.01, high: 1e4, show: number, write: asIs},
  {field: 'serve.bytes_per_response', label: 'bytes an answer', low: 100, high: 1e7, show: size, write: whole},
];
const STEPS = 1000;
const PRESETS = [['', 'live load'], ['starter', 'starter'], ['reference', 'reference']] as const;

/** The URL has the preset, and what was changed of it as JSON. */
export function CostPage() {
  const {params} = usePlace();
  const preset = params.preset ?? '';
  const measured = usePolled('/v1/cost/usage', signal => (preset ? Promise.resolve(null) : get('/v1/cost/usage', {}, signal)), null);
  const changed = readLoad(params.load), regions = readLoad(params.regions) as Record<string, string>;
  const asked: Asked = {base: preset ? {} : flatten(measured.value ?? {}), changed, preset: preset || null, regions};
  const question = useDebounced(JSON.stringify(asked), 120);
  const known = preset !== '' || measured.value !== null || measured.problem !== null;
  const {value, problem} = usePolled(known ? `cost of ${question}` : '', signal => (known ? estimate(JSON.parse(question) as Asked, signal) : Promise.resolve(null)), null);
  const [latest, keep] = useState<Estimate | null>(null);
  useEffect(() => {
    if (value) keep(value);
  }, [value]);
  const set = (field: string, to: unknown) => change({load: JSON.stringify({...changed, [field]: to})});

  return (
    <>
      {measured.problem && !preset && <div class="card notice mild">There is no live load yet: {toProblem(measured.problem).message} What is not measured is assumed.</div>}
      <Trouble problem={problem} />
      {!latest ? !problem && <Loading /> : (
        <>
          <div class="cost-two">
            <Card title="The load" side={<span class="hint">{preset ? `preset ${preset}` : String(measured.value?.origin ?? '')}</span>}>
              <Sliders latest={latest} asked={asked} set={set} />
              <div class="buttons">{PRESETS.map(([name, text]) => <button type="button" key={name} aria-pressed={preset === name} onClick={() => change({preset: name, load: undefined})}>{text}</button>)}</div>
            </Card>
            <div>
              <Card title="USD a month"><Bills latest={latest} /></Card>
              <Card title="USD a month over events/s"><CostCurve latest={latest} /></Card>
            </div>
          </div>
          <Ranking latest={latest} choose={(provider, region) => change({regions: JSON.stringify({...regions, [provider]: region}), project: `${provider}/${region}`})} />
          <Lines latest={latest} name={params.project} choose={project => change({project})} />
          <Card title={`Advice for ${latest.projects.find(p => p.metadata.provider === latest.adviceFor)?.metadata.providerName ?? latest.adviceFor}`}>
            <ul>{latest.advice.map(a => <li key={a.title}>{a.title}<small class="block">{a.arithmetic}</small></li>)}</ul>
          </Card>
          <p class="hint path">{latest.usage.filter(u => u.origin === 'assumed').length} of {latest.usage.length} inputs are assumed. List prices before tax and discounts, price sheet {latest.summary.priceSheet}, sha256 {latest.summary.priceSheetSha256.slice(0, 12)}{oldPrices(latest)}</p>
        </>
      )}
    </>
  );
}

const oldPrices = (latest: Estimate): string => {
  const old = latest.projects.reduce((n, p) => n + p.metadata.oldPrices, 0);
  return old ? `; ${old} prices are older than 180 days.` : '.';
};

function readLoad(text: string | undefined): Load {
  try {
    const read: unknown = JSON.parse(text ?? '{}');
    return read && typeof read === 'object' && !Array.isArray(read) ? (read as Load) : {};
  } catch {
    return {};  // A link that was cut.
  }
}

function Sliders({latest, asked, set}: {latest: Estimate; asked: Asked; set: (field: string, to: unknown) => void}) {
  const values = Object.fromEntries(latest.usage.map(u => [u.name, u.value]));
  const load = usageOf(asked), tables = load['lake.tables'];
  const nowOf = (s: Slider) => {
    if (s.field in asked.changed) return valueOf(s.field, asked.changed[s.field]);
    if (s.field === 'lake.commit' && Array.isArray(tables)) return seconds((tables[0] as {commit?: string} | undefined)?.commit ?? '60s');
    return valueOf(s.field, values[s.field]);
  };
  const machine = values['compute.machine'] ?? '';
  const machines: [string, string][] = [['small', 'small, 2 vCPU burstable'], ['general', 'general, 2 vCPU, 8 GiB'], ['large', 'large, 8 vCPU, 32 GiB']];
  // One that a file or an instance names is none of these.
  if (machine && !machines.some(([name]) => name === machine)) machines.push([machine, machine]);
  return (
    <>
      {SLIDERS.map(s => {
        const value = nowOf(s);
        return (
          <label class="slider" key={s.field}><span>{s.label}</span><b>{s.show(value)}</b>
            <input type="range" min={0} max={STEPS} value={Math.round((STEPS * Math.log(Math.max(value, s.low) / s.low)) / Math.log(s.high / s.low))} aria-valuetext={s.show(value)}
              onInput={event => set(s.field, s.write(s.low * (s.high / s.low) ** (Number(event.currentTarget.value) / STEPS)))} />
          </label>
        );
      })}
      <Choice label="Event log" value={values['broker.mode'] ?? ''} options={[['embedded', 'inside Millrace'], ['self', 'brokers on machines'], ['managed', 'the provider’s Kafka'], ['none', 'somebody else’s']]} onChange={to => set('broker.mode', to)} />
      <Choice label="Machines" value={machine} options={machines} onChange={to => set('compute.machine', to)} />
      <div class="checks">
        {([['serve.cdn', 'CDN'], ['k8s', 'Kubernetes'], ['broker.follower_fetch', 'follower fetch']] as const).map(([field, text]) => (
          <label key={field}><input type="checkbox" checked={values[field] === 'true'} onChange={event => set(field, event.currentTarget.checked)} /> {text}</label>
        ))}
      </div>
    </>
  );
}

const total = (p: Project): number => Number(p.breakdown.totalMonthlyCost);

function Bills({latest}: {latest: Estimate}) {
  const largest = Math.max(...latest.projects.map(total), 0.01);
  const used = new Set(latest.projects.flatMap(p => p.breakdown.resources.filter(r => Number(r.monthlyCost) > 0).map(r => r.name)));
  return (
    <>
      {latest.projects.map(p => (
        <div class="bill" key={p.name}>
          <div class="name"><b>{p.metadata.providerName}</b> <small>{p.metadata.region}, {p.metadata.place}</small></div>
          <div class="line"><div class="bar">{p.breakdown.resources.map(r => <i key={r.name} title={`${r.name}: ${money(r.monthlyCost)}`} style={{background: `var(--c${CATEGORIES.indexOf(r.name)})`, width: `${(100 * Number(r.monthlyCost)) / largest}%`}} />)}</div><div class="total">{money(total(p))}</div></div>
          {!p.metadata.complete && <p class="warn">without a sourced price: {p.metadata.missing.join(', ')}</p>}
        </div>
      ))}
      <div class="legend">{CATEGORIES.map((name, at) => used.has(name) && <span key={name}><i style={{background: `var(--c${at})`}} />{name}</span>)}</div>
    </>
  );
}

function Ranking({latest, choose}: {latest: Estimate; choose: (provider: string, region: string) => void}) {
  const [only, setOnly] = useState('');
  const [all, showAll] = useState(false);
  const names = Object.fromEntries(latest.projects.map(p => [p.metadata.provider, p.metadata.providerName]));
  const ranked = latest.regions.filter(r => !only || r.provider === only);
  const largest = Math.max(...ranked.map(r => Number(r.totalMonthlyCost)), 0.01);
  return (
    <Card title="Every region, the cheapest first" side={<Choice label="of" value={only} options={[['', 'all providers'], ...Object.entries(names).filter(([name]) => name !== 'own')]} onChange={setOnly} />}>
      {(all ? ranked : ranked.slice(0, RANKED_AT_FIRST)).map((r, at) => (
        <button type="button" class="rank" key={`${r.provider}/${r.region}`} aria-pressed={latest.projects.some(p => p.metadata.provider === r.provider && p.metadata.region === r.region)}
          title={r.complete ? undefined : 'without a sourced price: ' + r.missing.join(', ')} onClick={() => choose(r.provider, r.region)}>
          <span>{r.complete ? at + 1 : '?'}</span><i style={{background: PROVIDER_COLOUR[r.provider]}} /><span>{r.region} <small>{r.place}, {names[r.provider]}</small></span>
          <span class="bar"><i style={{background: PROVIDER_COLOUR[r.provider], width: `${(100 * Number(r.totalMonthlyCost)) / largest}%`, opacity: r.complete ? 1 : 0.35}} /></span>
          <span>{money(r.totalMonthlyCost)}{!r.complete && ' *'}</span>
        </button>
      ))}
      {ranked.length > RANKED_AT_FIRST && <button type="button" class="quiet" onClick={() => showAll(!all)}>{all ? `only the first ${RANKED_AT_FIRST}` : `all ${ranked.length} regions`}</button>}
      <p class="hint">Choose one to see its bill above and line by line. A region in which a price is missing cannot be ranked: it stands last, with ?.</p>
    </Card>
  );
}

function Lines({latest, name, choose}: {latest: Estimate; name: string | undefined; choose: (name: string) => void}) {
  const project = latest.projects.find(p => p.name === name) ?? latest.projects[0]!;
  return (
    <Card title="Line by line" side={<Choice label="Provider" value={project.name} options={latest.projects.map(p => [p.name, `${p.metadata.providerName} ${p.metadata.region}`] as const)} onChange={choose} />}>
      <div class="scroll" tabIndex={0} role="region" aria-label="Line by line">
        <table>
          <thead><tr><th scope="col">name</th><th scope="col" class="number">monthly quantity</th><th scope="col">unit</th><th scope="col" class="number">unit price</th><th scope="col" class="number">USD a month</th><th scope="col">source, in force</th></tr></thead>
          <tbody>
            {project.breakdown.resources.map(r => (
              <>
                <tr class="group" key={r.name}><td>{r.name}</td><td /><td /><td /><td class="number">{money(r.monthlyCost)}</td><td>{total(project) > 0 ? `${((100 * Number(r.monthlyCost)) / total(project)).toFixed(0)} %` : ''}</td></tr>
                {r.costComponents.map(c => (
                  <tr key={r.name + c.name}>
                    <td class="rule">{c.name}<small class="block">{c.rule}</small></td><td class="number">{number(Number(c.monthlyQuantity))}</td><td>{c.unit}</td>
                    <td class="number">{c.priceNotFound ? <span class="warn">no price</span> : c.price}</td><td class="number">{c.priceNotFound ? <span class="warn">?</span> : money(c.monthlyCost ?? 0)}</td>
                    <td>{!c.source ? <span class="warn">{c.sku}</span> : /^https:/.test(c.source.url) ? <a href={c.source.url} rel="noreferrer" title={`${c.source.kind}. ${c.source.about} ${c.source.note}`}>{c.source.id} {c.source.asOf}</a> : `${c.source.id} ${c.source.asOf}`}</td>
                  </tr>
                ))}
              </>
            ))}
            <tr class="group"><td>Total</td><td /><td /><td /><td class="number">{money(total(project))}</td><td>{project.metadata.complete ? '' : 'without what has no price'}</td></tr>
          </tbody>
        </table>
      </div>
    </Card>
  );
}
