/** A load, and what the API says it costs. */
import {post} from './api';

/** The parts of an estimate that the contract leaves open. */
export interface Estimate {
  projects: Project[];
  summary: {priceSheet: string; priceSheetSha256: string};
  usage: {name: string; value: string; origin: string}[];
  advice: {title: string; arithmetic: string}[];
  adviceFor: string;
  curves: {provider: string; points: {eventsPerSecond: number; totalMonthlyCost: string}[]}[];
  regions: {provider: string; region: string; place: string; totalMonthlyCost: string; complete: boolean; missing: string[]}[];
}
export interface Project {
  name: string;
  metadata: {provider: string; providerName: string; region: string; place: string; complete: boolean; missing: string[]; oldPrices: number};
  breakdown: {totalMonthlyCost: string; resources: {name: string; monthlyCost: string; costComponents: Component[]}[]};
}
export interface Component {
  name: string;
  unit: string;
  monthlyQuantity: string;
  price: string | null;
  monthlyCost: string | null;
  priceNotFound: boolean;
  sku: string;
  rule: string;
  source?: {id: string; url: string; asOf: string; kind: string; about: string; note: string};
}

/** The load as a document, its names with dots: what an instance measured or a preset says, and what was changed of it. */
export type Load = Record<string, unknown>;
export interface Asked {
  base: Load;
  changed: Load;
  preset: string | null;
  regions: Record<string, string>;  // By provider, where somebody chose another than the usual one.
}

export function flatten(object: unknown, prefix = '', out: Load = {}): Load {
  for (const [key, value] of Object.entries((object as Load | undefined) ?? {})) {
    if (value && typeof value === 'object' && !Array.isArray(value)) flatten(value, prefix + key + '.', out);
    else out[prefix + key] = value;
  }
  return out;
}

export function usageOf({base, changed}: Asked): Load {
  const usage: Load = {...base, ...changed};
  // A commit interval for all tables is said of all: what was measured of each gives way.
  if ('lake.commit' in changed && Array.isArray(usage['lake.tables'])) {
    usage['lake.tables'] = usage['lake.tables'].map((table: object) => ({...table, commit: changed['lake.commit']}));
  }
  return usage;
}

export const estimate = (asked: Asked, signal: AbortSignal): Promise<Estimate> =>
  post('/v1/cost/estimate', {usage: usageOf(asked), curves: true, rank: true, regions: asked.regions, ...(asked.preset ? {preset: asked.preset} : {})}, signal) as unknown as Promise<Estimate>;

const SECONDS: Record<string, number> = {ms: 0.001, s: 1, m: 60, h: 3600, d: 86_400};
const BYTES: Record<string, number> = {B: 1, kB: 1e3, MB: 1e6, GB: 1e9, KiB: 1024, MiB: 1_048_576};
const unitOf = (text: string): string => text.replace(/^[\d.e+-]+/i, '');
export const seconds = (text: unknown): number => parseFloat(String(text)) * (SECONDS[unitOf(String(text))] ?? 1);
const size = (text: unknown): number => parseFloat(String(text)) * (BYTES[unitOf(String(text))] ?? 1);
/** A field of the load, as the API says it, as a number. */
export const valueOf = (field: string, text: unknown): number =>
  /retention|commit$/.test(field) ? seconds(text) : /bytes/.test(field) ? size(text) : parseFloat(String(text));

export const PROVIDER_COLOUR: Record<string, string> = {aws: 'var(--c2)', gcp: 'var(--c3)', azure: 'var(--c1)', own: 'var(--c0)'};
