/** Numbers, sizes and times as people read them. */

const grouped = new Intl.NumberFormat('en-US', {maximumFractionDigits: 0});

/** 1234567 -> "1.23 M" */
export function short(n: number | null | undefined): string {
  if (n == null) return '–';
  if (!isFinite(n)) return isNaN(n) ? 'nan' : n > 0 ? 'inf' : '-inf';
  const size = Math.abs(n);
  if (size < 10) return String(+n.toFixed(size < 1 ? 2 : 1));
  if (size < 1e4) return grouped.format(n);
  for (const [unit, name] of [[1e12, 'T'], [1e9, 'G'], [1e6, 'M']] as const) {
    if (size >= unit) return (n / unit).toPrecision(3) + ' ' + name;
  }
  return (n / 1e3).toPrecision(3) + ' k';
}

/** 1234 -> "1,234/s" */
export const perSecond = (n: number | null | undefined): string => (n == null ? '–' : short(n) + '/s');
export const count = (n: number | null | undefined): string => (n == null ? '–' : Math.abs(n) < 1e7 ? grouped.format(n) : short(n));
export const exact = (n: number): string => grouped.format(n);
export const plural = (n: number, one: string, many = one + 's'): string => `${count(n)} ${n === 1 ? one : many}`;

export function bytes(n: number | null | undefined): string {
  if (n == null) return '–';
  for (const [unit, name] of [[2 ** 40, 'TiB'], [2 ** 30, 'GiB'], [2 ** 20, 'MiB'], [2 ** 10, 'KiB']] as const) {
    if (n >= unit) {
      const value = n / unit;
      return (value >= 1000 ? grouped.format(value) : value.toPrecision(3)) + ' ' + name;
    }
  }
  return Math.round(n) + ' B';
}

/** Of seconds. */
export function duration(s: number | null | undefined): string {
  if (s == null || !isFinite(s)) return '–';
  if (s < 1) return Math.max(0, Math.round(s * 1000)) + ' ms';
  if (s < 60) return s.toFixed(s < 10 ? 1 : 0) + ' s';
  if (s < 3600) return Math.floor(s / 60) + ' min ' + Math.floor(s % 60) + ' s';
  if (s < 86400) return Math.floor(s / 3600) + ' h ' + Math.floor((s % 3600) / 60) + ' min';
  return Math.floor(s / 86400) + ' d ' + Math.floor((s % 86400) / 3600) + ' h';
}

export const secondsSince = (time: string | number, now = Date.now()): number =>
  (now - (typeof time === 'number' ? time : Date.parse(time))) / 1000;
export const ago = (time: string | number | null | undefined, now = Date.now()): string =>
  time == null ? '–' : secondsSince(time, now) < 1 ? 'now' : duration(secondsSince(time, now)) + ' ago';
export const percent = (part: number, whole: number): string => {
  const share = whole > 0 ? (100 * part) / whole : 0;
  return (share === 0 || share >= 10 ? share.toFixed(0) : share >= 0.1 ? share.toFixed(1) : '< 0.1') + ' %';
};

/** Local, with seconds when `fine`, with the day when it is not today's. */
export function clock(ms: number, fine: boolean, now = Date.now()): string {
  const time = new Date(ms);
  const text = time.toLocaleTimeString([], {hour: '2-digit', minute: '2-digit', second: fine ? '2-digit' : undefined, hourCycle: 'h23'});
  return time.toDateString() === new Date(now).toDateString() ? text : `${time.toLocaleDateString('en-CA')} ${text}`;
}

const SPECIAL: Record<string, number> = {inf: Infinity, '-inf': -Infinity, nan: NaN};
/** A value of an answer as a number: doubles that are not finite and numbers of many digits are texts there. */
export function toNumber(value: unknown): number | null {
  if (typeof value === 'number') return value;
  if (typeof value !== 'string' || value === '') return null;
  return SPECIAL[value] ?? (isNaN(Number(value)) ? null : Number(value));
}

export const isNumeric = (type: string): boolean => /^(U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|DOUBLE|FLOAT|REAL|DECIMAL)/i.test(type);
export const isTime = (type: string): boolean => /^(TIMESTAMP|DATE)/i.test(type);

/** A value of an answer in a cell. */
export function cell(value: unknown): string {
  if (value == null) return 'null';
  if (typeof value === 'object') return JSON.stringify(value);
  return String(value);
}
