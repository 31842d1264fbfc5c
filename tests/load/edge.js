// Load through the public address of an environment in Azure: Front Door, the gateway, a function. Reads only, since what
// is ordered there would be delivered. Orders under load are `make k6` and `make bench`, on a stack that nobody buys from.
//
//   BASE_URL, TOKEN, SUBSCRIPTION_KEY   as for infra/scripts/smoke.sh
//   RATE       1700    requests a second; 1,700 are the seed's 100,000 a minute
//   DURATION   10m
import http from 'k6/http';
import { check } from 'k6';

const base = __ENV.BASE_URL;
const headers = { Authorization: `Bearer ${__ENV.TOKEN}`, 'Ocp-Apim-Subscription-Key': __ENV.SUBSCRIPTION_KEY || '' };
const rate = Number(__ENV.RATE || 1700);

export const options = {
  scenarios: {
    browse: {
      executor: 'ramping-arrival-rate', startRate: 10, timeUnit: '1s', preAllocatedVUs: Math.ceil(rate / 4), maxVUs: rate,
      stages: [{ target: rate, duration: '1m' }, { target: rate, duration: __ENV.DURATION || '10m' }],
    },
  },
  thresholds: { http_req_failed: ['rate<0.001'], http_req_duration: ['p(95)<150', 'p(99)<500'], checks: ['rate>0.999'] },
};

// setup reads one page, so that products are asked for that there are.
export function setup() {
  const page = http.get(`${base}/api/v1/products?pageSize=50`, { headers });
  if (page.status !== 200) throw new Error(`${base} answered ${page.status}: ${page.body}`);
  return page.json('items').map((product) => product.id);
}

export default function (products) {
  const one = products[Math.floor(Math.random() * products.length)];
  const url = Math.random() < 0.8 ? `${base}/api/v1/products/${one}` : `${base}/api/v1/products?pageSize=20`;
  const answer = http.get(url, { headers, tags: { name: url.includes('?') ? 'list' : 'product' } });
  check(answer, { 'a product or a page of them': (r) => r.status === 200 && r.body.length > 2 });
}
