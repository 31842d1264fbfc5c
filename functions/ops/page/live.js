// Figures out of Prometheus' text form: rates and quantiles between two answers of one process, and the charts of them.

const keep = 150; // answers, two seconds apart: five minutes

/** parse reads the text form into name -> [{labels, value}]. */
export function parse(text) {
  const out = new Map();
  for (const line of text.split('\n')) {
    const m = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/.exec(line);
    if (!m || line.startsWith('#')) continue;
    const labels = {};
    for (const l of (m[2] || '').matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) labels[l[1]] = l[2];
    if (!out.has(m[1])) out.set(m[1], []);
    out.get(m[1]).push({ labels, value: Number(m[3]) });
  }
  return out;
}

const catalog = (l) => l.cache !== 'order_list';

const sum = (metrics, name, match = () => true) => (metrics.get(name) || []).filter((s) => match(s.labels)).reduce((n, s) => n + s.value, 0);

/** buckets are a histogram's cumulative counts by upper bound, over all its series. */
function buckets(metrics, name) {
  const by = new Map();
  for (const s of metrics.get(name + '_bucket') || []) {
    if (/^\/(health|metrics)/.test(s.labels.endpoint || '')) continue;
    const le = s.labels.le === '+Inf' ? Infinity : Number(s.labels.le);
    by.set(le, (by.get(le) || 0) + s.value);
  }
  return [...by].sort((a, b) => a[0] - b[0]);
}

/** quantile interpolates in the bucket where q is, as Prometheus does. */
export function quantile(q, now, before) {
  const past = new Map(before);
  const list = now.map(([le, n]) => [le, n - (past.get(le) || 0)]);
  const all = list.length ? list[list.length - 1][1] : 0;
  if (all <= 0) return NaN;
  let low = 0, under = 0;
  for (const [le, n] of list) {
    if (n >= q * all) return le === Infinity ? low : low + (le - low) * (q * all - under) / Math.max(n - under, 1e-9);
    low = le; under = n;
  }
  return low;
}

/** Samples keeps what was heard. */
export class Samples {
  constructor() { this.last = new Map(); this.history = []; }

  processes() { return this.last.size; }

  now() { return this.history[this.history.length - 1]; }

  add(text, at) {
    const m = parse(text);
    const process = String(sum(m, 'process_start_time_seconds'));
    const before = this.last.get(process);
    const counted = {
      at, orders: sum(m, 'orders_accepted_total'), requests: sum(m, 'http_requests_total'),
      errors: sum(m, 'http_requests_total', (l) => /^5/.test(l.status)), latency: buckets(m, 'http_request_duration_seconds'),
      hits: sum(m, 'redis_cache_hits_total', catalog), misses: sum(m, 'redis_cache_misses_total', catalog), delivered: sum(m, 'webhook_deliveries_total'),
    };
    const rate = (name) => before ? Math.max(0, counted[name] - before[name]) / ((at - before.at) / 1000) : NaN;
    const p = (q) => before ? quantile(q, counted.latency, before.latency) * 1000 : NaN;
    const reads = before ? counted.hits + counted.misses - before.hits - before.misses : 0;
    this.last.set(process, counted);
    this.history.push({
      at, orders: rate('orders'), requests: rate('requests'), delivered: rate('delivered'),
      errors: rate('requests') ? 100 * rate('errors') / rate('requests') : 0,
      p50: p(0.5), p95: p(0.95), p99: p(0.99),
      lane: sum(m, 'order_lane_depth'), hot: sum(m, 'stock_hot_queue_depth'), outbox: sum(m, 'outbox_messages_pending'),
      age: sum(m, 'outbox_oldest_unpublished_seconds'), parked: sum(m, 'outbox_parked'),
      hitRate: reads > 0 ? 100 * (counted.hits - before.hits) / reads : NaN,
      breakers: Object.fromEntries((m.get('breaker_state') || []).map((b) => [b.labels.dependency, b.value])), circuits: sum(m, 'webhook_endpoints', (l) => l.state === 'open'),
      pending: sum(m, 'webhook_pending'), dead: sum(m, 'webhook_dead'), letters: sum(m, 'dead_letters'),
      waiting: sum(m, 'admission_waiting'), active: sum(m, 'db_connections_active'), most: sum(m, 'db_connections_max'),
      oversold: sum(m, 'oversell_detected_total'),
    });
    if (this.history.length > keep) this.history.shift();
  }

  charts() {
    const h = this.history, of = (name) => h.map((s) => s[name]);
    return [
      { id: 'orders', title: 'Orders a second', unit: '', series: { orders: of('orders') } },
      { id: 'latency', title: 'Latency', unit: ' ms', series: { p50: of('p50'), p95: of('p95'), p99: of('p99') } },
      { id: 'depth', title: 'What waits', unit: '', series: { 'in the lane': of('lane'), 'in the outbox': of('outbox'), 'deliveries': of('pending') } },
      { id: 'hits', title: 'Catalog reads answered by a cache', unit: ' %', series: { 'hit rate': of('hitRate') } },
    ];
  }
}

const figure = (n, digits = 1) => Number.isFinite(n) ? n.toLocaleString(undefined, { maximumFractionDigits: digits }) : '–';

// Whether a store is asked: what its breaker does with callers, by the value of its metric.
const stores = [['PostgreSQL', 'postgresql'], ['Redis', 'redis'], ['Service Bus', 'servicebus']];
const breaker = ['asked', 'probed', 'not asked'];

/** tiles shows the figures of now; what an operator should look at is marked in words too, for who sees no colour. */
export function tiles(list, s) {
  const all = [
    ['Orders/s', figure(s.orders)], ['Requests/s', figure(s.requests)], ['Errors', figure(s.errors, 2) + ' %', s.errors > 1],
    ['p95', figure(s.p95) + ' ms', s.p95 > 150], ['Lane', figure(s.lane, 0), s.lane > 500], ['Hottest product', figure(s.hot, 0) + ' waiting'],
    ['Outbox', figure(s.outbox, 0), s.outbox > 1000], ['Oldest event', figure(s.age) + ' s', s.age > 60], ['Parked events', figure(s.parked, 0), s.parked > 0],
    ['Cache hits', figure(s.hitRate) + ' %'], ...stores.map(([name, id]) => [name, breaker[s.breakers[id]] || '–', s.breakers[id] > 0]), ['Waiting for a permit', figure(s.waiting, 0)],
    ['Connections', figure(s.active, 0) + ' of ' + figure(s.most, 0), s.active >= s.most], ['Deliveries/s', figure(s.delivered)],
    ['Endpoints paused', figure(s.circuits, 0), s.circuits > 0], ['Dead deliveries', figure(s.dead, 0), s.dead > 0],
    ['Dead letters', figure(s.letters, 0), s.letters > 0], ['Books', s.oversold ? 'WRONG' : 'right', s.oversold > 0],
  ];
  list.replaceChildren(...all.map(([name, value, bad]) => {
    const div = document.createElement('div'), dt = document.createElement('dt'), dd = document.createElement('dd');
    dt.textContent = name;
    dd.textContent = value + (bad ? ' !' : '');
    if (bad) div.className = 'bad';
    div.append(dt, dd);
    return div;
  }));
}

const svg = (name, attributes) => {
  const e = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  return e;
};

/** chart draws a line for each series; its caption says the same in words. Lines differ in their dashes, not only in colour. */
export function chart(parent, { id, title, unit, series }) {
  let box = parent.querySelector('#chart-' + id);
  if (!box) {
    box = document.createElement('figure');
    box.id = 'chart-' + id;
    parent.append(box);
  }
  const names = Object.keys(series), values = Object.values(series), width = 400, height = 120;
  const top = Math.max(1e-9, ...values.flat().filter(Number.isFinite));
  const last = (list) => list.findLast(Number.isFinite);
  const caption = document.createElement('figcaption'), bold = document.createElement('b');
  bold.textContent = title + ' ';
  caption.append(bold);
  names.forEach((name, i) => {
    const key = document.createElement('span'), text = document.createElement('span');
    key.className = 'k' + i;
    key.textContent = ['—', '– –', '···'][i] + ' ';
    text.textContent = name + ' ' + figure(last(values[i])) + unit + '  ';
    caption.append(key, text);
  });
  const drawing = svg('svg', { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': title + ': ' + names.map((n, i) => `${n} now ${figure(last(values[i]))}${unit}, at most ${figure(Math.max(...values[i].filter(Number.isFinite)))}${unit}`).join('; ') });
  for (const part of [0.25, 0.5, 0.75]) drawing.append(svg('line', { class: 'grid', x1: 0, x2: width, y1: height * part, y2: height * part }));
  values.forEach((list, i) => {
    const points = list.map((v, x) => Number.isFinite(v) ? `${(width * (x + keep - list.length) / (keep - 1)).toFixed(1)},${(height - 2 - (height - 6) * v / top).toFixed(1)}` : '').filter(Boolean);
    drawing.append(svg('polyline', { class: 's' + i, points: points.join(' ') }));
  });
  const most = document.createElement('small');
  most.textContent = 'five minutes; top of the chart: ' + figure(top < 1e-6 ? 0 : top) + unit;
  box.replaceChildren(caption, drawing, most);
}
