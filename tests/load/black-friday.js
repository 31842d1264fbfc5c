// Black Friday against a running stack (`make run`), as `make k6` runs it: a ramp, the mixed hours of the day, a flash
// sale of one product, and a storm of retries. It fails when answers are late or wrong, or when one Idempotency-Key
// gets two different ones.
//
//   BASE_URL   http://127.0.0.1:7071         where the service is; HOST_PORT changes the port alone
//   TOKEN_URL  http://127.0.0.1:7072/token   where tokens are; ISSUER_PORT changes the port alone
//   RATE       300                           requests a second of the mixed hours; 2117 are 127,000 a minute
//   DURATION   60                            seconds of the mixed hours
//   CUSTOMERS  2000                          who buy, each with a token and limits of their own
//
// Open loop: requests come at their rate however long answers take, so that waiting is part of what is measured.
import http from 'k6/http';
import exec from 'k6/execution';
import { Counter, Rate } from 'k6/metrics';

const base = __ENV.BASE_URL || `http://127.0.0.1:${__ENV.HOST_PORT || 7071}`;
const tokenURL = __ENV.TOKEN_URL || `http://127.0.0.1:${__ENV.ISSUER_PORT || 7072}/token`;
const rate = Number(__ENV.RATE || 300);
const duration = Number(__ENV.DURATION || 60);
const customers = Number(__ENV.CUSTOMERS || 2000);
const run = Date.now().toString(36); // keys of two runs must differ

// Sold out, and a key that is being worked on, are answers and not failures.
http.setResponseCallback(http.expectedStatuses({ min: 200, max: 399 }, 409));

const rampTime = 20;
const vus = Math.min(400, Math.max(50, Math.ceil(rate / 5)));
const flashRate = Math.max(1, Math.ceil(rate / 10));
const stormRate = Math.max(1, Math.ceil(rate / 50)); // each iteration sends one order eight times
const arrivals = { executor: 'constant-arrival-rate', timeUnit: '1s', preAllocatedVUs: vus, maxVUs: 2 * vus };

export const options = {
  scenarios: {
    ramp: {
      executor: 'ramping-arrival-rate', startRate: 1, timeUnit: '1s', preAllocatedVUs: vus, maxVUs: 2 * vus, exec: 'mixed',
      stages: [{ target: rate, duration: `${rampTime}s` }],
    },
    mixed: { ...arrivals, exec: 'mixed', rate, startTime: `${rampTime}s`, duration: `${duration}s` },
    flash_sale: {
      ...arrivals, exec: 'flashSale', rate: flashRate, preAllocatedVUs: Math.ceil(vus / 4),
      startTime: `${rampTime + duration / 3}s`, duration: `${Math.ceil(duration / 3)}s`,
    },
    retry_storm: {
      ...arrivals, exec: 'retryStorm', rate: stormRate, preAllocatedVUs: Math.ceil(vus / 4),
      startTime: `${rampTime + (2 * duration) / 3}s`, duration: `${Math.ceil(duration / 3)}s`,
    },
  },
  thresholds: {
    'http_req_duration{kind:api}': ['p(95)<87', 'p(99)<234'],
    'http_req_duration{scenario:mixed,kind:api}': ['p(95)<87', 'p(99)<234'],
    'http_req_duration{scenario:flash_sale,kind:api}': ['p(99)<234'],
    errors: ['rate<0.00003'],
    different_answers: ['count==0'],
    same_answers: ['count>0'],
    dropped_iterations: ['count==0'],
  },
  summaryTrendStats: ['avg', 'med', 'p(95)', 'p(99)', 'max'],
};

// errors are answers that a customer should not see; sold out (409) is not one of them.
const errors = new Rate('errors');
const differentAnswers = new Counter('different_answers');
const sameAnswers = new Counter('same_answers');
const soldOut = new Counter('sold_out');
const placed = new Counter('orders_placed');

const tokens = new Map(); // of this VU: customer -> { token, until }

function token(customer) {
  const known = tokens.get(customer);
  if (known && known.until > Date.now()) {
    return known.token;
  }
  const res = http.post(
    tokenURL,
    { grant_type: 'client_credentials', sub: customer, scope: 'catalog:read order:read order:write order:cancel' },
    { tags: { kind: 'token' } },
  );
  if (res.status !== 200) {
    exec.test.abort(`${tokenURL} answered ${res.status}: is the stack running (make run)?`);
  }
  const answer = res.json();
  tokens.set(customer, { token: answer.access_token, until: Date.now() + (answer.expires_in - 60) * 1000 });
  return answer.access_token;
}

// customer is one of the few whom this VU plays, so that it fetches few tokens.
function customer() {
  const mine = Math.max(1, Math.floor(customers / (3 * vus)));
  return `k6-${(exec.vu.idInTest * mine + Math.floor(Math.random() * mine)) % customers}`;
}

function headers(who, key) {
  const h = { Authorization: `Bearer ${token(who)}` };
  if (key) {
    h['Idempotency-Key'] = key;
    h['Content-Type'] = 'application/json';
  }
  return h;
}

let counter = 0;
function newKey() {
  counter += 1;
  return `k6-${run}-${exec.vu.idInTest}-${counter}`;
}

function any(list) {
  return list[Math.floor(Math.random() * list.length)];
}

// settled notes whether an answer is one of those that a customer may see.
function settled(res, ...wanted) {
  const fine = wanted.includes(res.status);
  errors.add(!fine);
  if (!fine) {
    console.error(`${res.request.method} ${res.request.url}: ${res.status} ${res.body || res.error}`);
  }
  return fine;
}

export function setup() {
  const who = 'k6-setup';
  const products = [];
  for (let page = 1; page <= 10; page += 1) {
    const res = http.get(`${base}/api/v1/products?pageSize=100&page=${page}`, { headers: headers(who), tags: { kind: 'setup' } });
    if (res.status !== 200) {
      exec.test.abort(`${base} answered ${res.status} ${res.body}: is the stack running (make run)?`);
    }
    const { items } = res.json();
    products.push(...items.filter((p) => p.isAvailable).map((p) => p.id));
    if (items.length < 100) {
      break;
    }
  }
  return { products, flash: products[0] };
}

function order(who, lines) {
  return JSON.stringify({
    customerId: who,
    shippingAddress: { name: 'Ada Lovelace', line1: '1 Main Street', city: 'Austin', postalCode: '73301', country: 'US' },
    lines,
  });
}

function place(who, key, body, name) {
  const res = http.post(`${base}/api/v1/orders`, body, { headers: headers(who, key), tags: { kind: 'api', name } });
  if (settled(res, 201, 409) && res.status === 201) {
    placed.add(1);
  } else if (res.status === 409) {
    soldOut.add(1);
  }
  return res;
}

const words = ['running', 'rain jacket', 'merino', 'tent', 'lantern', 'helmet', 'kettlebell', 'skillet', 'mug', 'bag'];
let cart; // of this VU

// mixed is 80 % catalog, 10 % carts and 10 % orders.
export function mixed({ products }) {
  const who = customer();
  const dice = Math.random();
  const get = (path, name) => settled(http.get(base + path, { headers: headers(who), tags: { kind: 'api', name } }), 200);
  if (dice < 0.5) {
    get(`/api/v1/products/${any(products)}`, 'product');
  } else if (dice < 0.7) {
    get(`/api/v1/products?pageSize=20&page=${1 + Math.floor(Math.random() * 10)}`, 'list');
  } else if (dice < 0.8) {
    get(`/api/v1/products?search=${encodeURIComponent(any(words))}`, 'search');
  } else if (dice < 0.9 && !cart) {
    const res = http.post(`${base}/api/v1/carts`, JSON.stringify({ sessionId: who }), { headers: headers(who, newKey()), tags: { kind: 'api', name: 'new cart' } });
    if (settled(res, 201)) {
      cart = { id: res.json().id, who };
    }
  } else if (dice < 0.9) {
    const body = JSON.stringify({ productId: any(products), quantity: 1 + Math.floor(Math.random() * 3) });
    settled(http.put(`${base}/api/v1/carts/${cart.id}/items`, body, { headers: headers(cart.who, newKey()), tags: { kind: 'api', name: 'cart item' } }), 200);
    if (Math.random() < 0.3) {
      cart = undefined; // the next customer starts anew
    }
  } else {
    const first = any(products);
    const second = any(products);
    const lines = [{ productId: first, quantity: 1 }];
    if (second !== first) {
      lines.push({ productId: second, quantity: 1 });
    }
    place(who, newKey(), order(who, lines), 'order');
  }
}

// flashSale has everybody want one product.
export function flashSale({ flash }) {
  const who = customer();
  place(who, newKey(), order(who, [{ productId: flash, quantity: 1 }]), 'flash order');
}

// retryStorm sends one order six times at once and twice afterwards, as impatient clients behind a slow network do.
// All that are answered for good must be answered alike, byte for byte; that one is refused for overload is an error of
// another kind.
export function retryStorm({ products }) {
  const who = customer();
  const key = newKey();
  const request = [
    'POST', `${base}/api/v1/orders`, order(who, [{ productId: any(products), quantity: 1 }]),
    { headers: headers(who, key), tags: { kind: 'api', name: 'retried order' } },
  ];
  const answers = [...http.batch(Array(6).fill(request)), http.request(...request), http.request(...request)];
  // 409 for a key that is being worked on says nothing yet; any other answer is the answer.
  const final = answers.filter((res) => settled(res, 201, 409) && !String(res.body).includes('request-in-flight'));
  if (final.every((res) => res.status === final[0].status && res.body === final[0].body)) {
    sameAnswers.add(Math.max(0, final.length - 1));
  } else {
    differentAnswers.add(1);
    console.error(`key ${key}: ${answers.map((res) => `${res.status} ${res.body}`).join('\n  ')}`);
  }
}
