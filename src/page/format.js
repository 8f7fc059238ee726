// Times, durations and amounts, as people read them.

import { h } from './dom.js';

const NUMBER = new Intl.NumberFormat('en');
const RELATIVE = new Intl.RelativeTimeFormat('en', { numeric: 'always', style: 'narrow' });
const CLOCK = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const SHORT_DAY = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short' });
const DAY = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium' });

/** 1,234 */
export function count(number) {
  return NUMBER.format(number);
}

/** 1 handoff, 2 handoffs; `many` where that is not the name with an s */
export function amount(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

/** 42%, 0.3%, 99.7%; never 0% of some, nor 100% of some but not all */
export function percent(share) {
  if (share > 0 && share < 0.001) return '<0.1%';
  if (share > 0.999 && share < 1) return '>99.9%';
  const isNearEnd = (share > 0 && share < 0.1) || (share > 0.9 && share < 1);
  return `${(share * 100).toFixed(isNearEnd ? 1 : 0)}%`;
}

/** 7 ms, 1.2 s, 3 min, 2 h, 4 d */
export function duration(ms) {
  if (ms === undefined || ms === null) return '–';
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1_000).toFixed(ms < 10_000 ? 1 : 0)} s`;
  if (ms < 3_600_000) return `${Math.round(ms / 60_000)} min`;
  if (ms < 172_800_000) return `${Math.round(ms / 3_600_000)} h`;
  return `${Math.round(ms / 86_400_000)} d`;
}

/** 512 B, 1.4 kB */
export function bytes(amount) {
  return amount < 1_000 ? `${amount} B` : `${(amount / 1_000).toFixed(1)} kB`;
}

/** 14:03:07 */
export function clock(atMs) {
  return CLOCK.format(atMs);
}

/** 24 Nov */
export function day(atMs) {
  return SHORT_DAY.format(atMs);
}

/** A moment, as a time that tells the whole of it to whoever asks. */
export function moment(atMs) {
  const passedMs = Date.now() - atMs;
  const text = Math.abs(passedMs) < 3_600_000 ? ago(passedMs) : `${DAY.format(atMs)}, ${clock(atMs)}`;
  return h('time', { datetime: new Date(atMs).toISOString(), title: `${DAY.format(atMs)}, ${clock(atMs)}` }, text);
}

function ago(passedMs) {
  const seconds = Math.round(-passedMs / 1_000);
  return Math.abs(seconds) < 60 ? RELATIVE.format(seconds, 'second') : RELATIVE.format(Math.round(seconds / 60), 'minute');
}

/** Which colour the end of something has. */
export function tone(outcome) {
  return { completed: 'good', ended: 'good', failed: 'bad', cancelled: 'plain', handed_off: 'plain' }[outcome] ?? 'busy';
}

/** handed off */
export function words(name) {
  return String(name).replaceAll(/[_-]/g, ' ');
}
