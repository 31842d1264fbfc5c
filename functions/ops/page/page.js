// The operations page. It asks the API with the token of who looks, and draws what it hears; there is nothing to build.
import { chart, Samples, tiles } from './live.js';

const $ = (id) => document.getElementById(id);
const api = '../api/v1/';
let token = sessionStorage.getItem('token') || '';

/** element makes an element with text, never with markup: what is shown was written by others. */
export function element(name, text, attributes = {}) {
  const e = document.createElement(name);
  if (text !== undefined && text !== null) e.textContent = text;
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  return e;
}

let saying;
function say(text) {
  $('said').textContent = text;
  clearTimeout(saying);
  saying = setTimeout(() => { $('said').textContent = ''; }, 6000);
}

/** ask calls the API; a write gets a key of its own, so that a retry of the network's is no second write. */
async function ask(path, method = 'GET', body = undefined) {
  const headers = { Authorization: 'Bearer ' + token };
  if (method !== 'GET') headers['Idempotency-Key'] = crypto.randomUUID();
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  const res = await fetch(api + path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), cache: 'no-store' });
  const text = await res.text();
  if (res.ok) return (res.headers.get('Content-Type') || '').includes('json') ? JSON.parse(text) : text;
  let problem = { title: 'The service answered ' + res.status, detail: '' };
  try { problem = JSON.parse(text); } catch { /* not a problem document: the status says it */ }
  const error = new Error([problem.title, problem.detail].filter(Boolean).join('. '));
  error.status = res.status;
  throw error;
}

/** confirmed asks before it acts, and for a reason where one is wanted; Escape and "No" leave everything as it is. */
function confirmed(title, text, yes, why) {
  const dialog = $('ask');
  $('ask-why').hidden = !why;
  $('ask-reason').value = '';
  $('ask-title').textContent = title;
  $('ask-text').textContent = text;
  $('ask-yes').textContent = yes;
  return new Promise((resolve) => {
    const end = (answer) => { dialog.close(); resolve(answer); };
    $('ask-yes').onclick = () => {
      if (!why) end(true);
      else if ($('ask-reason').reportValidity()) end($('ask-reason').value);
    };
    $('ask-no').onclick = () => end(false);
    dialog.oncancel = () => resolve(false);
    dialog.showModal();
    $(why ? 'ask-reason' : 'ask-no').focus();
  });
}

async function act(title, text, yes, work, done, why = false) {
  const answer = await confirmed(title, text, yes, why);
  if (!answer) return;
  try {
    await work(answer);
    say(done);
  } catch (e) { say(e.message); }
}

const when = (text) => text ? new Date(text).toLocaleString() : '';

function cell(row, label, text, name = '') {
  const td = element('td', text, { 'data-label': label });
  if (name) td.className = name;
  row.append(td);
  return td;
}

function button(text, label, work) {
  const b = element('button', text, { type: 'button', 'aria-label': label });
  b.addEventListener('click', work);
  return b;
}

function nothing(rows, columns, text) {
  const row = element('tr');
  row.append(element('td', text, { colspan: columns }));
  rows.replaceChildren(row);
}

// Live figures.
const samples = new Samples();
async function live() {
  if (!token || document.hidden) return;
  try {
    samples.add(await ask('ops/metrics'), Date.now());
    $('state').textContent = 'Live, ' + new Date().toLocaleTimeString();
    $('process').textContent = 'One process answers at a time; rates compare two answers of the same one. Seen so far: ' + samples.processes() + '.';
    tiles($('tiles'), samples.now());
    for (const c of samples.charts()) chart($('charts'), c);
  } catch (e) {
    $('state').textContent = e.message;
    if (e.status === 401 || e.status === 403) leave(e.message);
  }
}

// Switches.
async function switches() {
  const { items } = await ask('ops/switches');
  $('switch-list').replaceChildren(...items.map((s) => {
    const li = element('li', undefined, { class: s.on ? 'on' : '' });
    const what = element('div', s.title, { class: 'what' });
    what.append(element('small', s.name + ' is ' + (s.on ? 'ON' : 'off') + (s.changedBy ? ', by ' + s.changedBy + ' at ' + when(s.changedAt) : '')));
    const to = s.on ? 'off' : 'on';
    li.append(what, button('Switch ' + to, 'Switch ' + s.name + ' ' + to, () => act(
      'Switch ' + s.name + ' ' + to + '?', s.title + '.', 'Switch ' + to,
      async () => { await ask('ops/switches/' + s.name, 'PUT', { on: !s.on }); await switches(); }, s.name + ' is ' + to)));
    return li;
  }));
}

// Dead letters.
let letterList = [], letterCursor = '';
async function letters(more = false) {
  const page = await ask('ops/dead-letters?pageSize=50' + (more && letterCursor ? '&cursor=' + encodeURIComponent(letterCursor) : ''));
  letterList = more ? letterList.concat(page.items) : page.items;
  letterCursor = page.nextCursor || '';
  $('letter-more').hidden = !letterCursor;
  showLetters();
}

function showLetters() {
  const words = $('letter-search').value.toLowerCase();
  const list = letterList.filter((l) => JSON.stringify(l).toLowerCase().includes(words));
  if (!list.length) return nothing($('letter-rows'), 6, letterList.length ? 'None of those that are loaded matches.' : 'There are none.');
  $('letter-rows').replaceChildren(...list.map((l) => {
    const row = element('tr');
    cell(row, 'Received', when(l.receivedAt), 'nowrap');
    cell(row, 'Entity', l.entity);
    cell(row, 'Subject', l.subject);
    cell(row, 'Reason', [l.reason, l.description].filter(Boolean).join(': '));
    cell(row, 'Message', l.messageId);
    cell(row, '', '').append(button('Send again', 'Send message ' + l.messageId + ' again', () => act(
      'Send this message again?', 'It goes to ' + l.entity + ' as a new message: ' + (l.subject || l.messageId) + '.', 'Send again',
      async () => { await ask('ops/dead-letters/' + l.id + '/redrive', 'POST'); await letters(); }, 'The message was sent.')), ' ',
      button('Discard', 'Discard message ' + l.messageId, () => act(
        'Discard this message?', 'Nobody will look at it any more. It is kept for 90 days.', 'Discard',
        async (reason) => { await ask('ops/dead-letters/' + l.id + '/discard', 'POST', { reason }); await letters(); }, 'The message was discarded.', true)));
    return row;
  }));
}

// Parked events.
async function parked() {
  const { items } = await ask('ops/parked-events?pageSize=100');
  if (!items.length) return nothing($('parked-rows'), 5, 'There are none.');
  let last = '';
  $('parked-rows').replaceChildren(...items.map((p) => {
    const row = element('tr');
    cell(row, 'Aggregate', p.aggregateId);
    cell(row, 'Sequence', p.sequence);
    cell(row, 'Type', p.type);
    cell(row, 'Reason', p.reason);
    const td = cell(row, '', '');
    if (p.aggregateId !== last) {
      td.append(button('Release', 'Release the events of ' + p.aggregateId, () => act(
        'Release its events?', 'All parked events of ' + p.aggregateId + ' are sent again, in their order.', 'Release',
        async () => { await ask('ops/parked-events/' + p.aggregateId + '/release', 'POST'); await parked(); }, 'The events are on their way.')));
    }
    last = p.aggregateId;
    return row;
  }));
}

// Deliveries.
async function endpoints() {
  const { items } = await ask('webhooks?pageSize=100');
  const chosen = $('endpoint').value;
  $('endpoint').replaceChildren(...items.map((e) => element('option', e.url + (e.status === 'enabled' ? '' : ' (' + e.status + ')'), { value: e.id })));
  if (items.some((e) => e.id === chosen)) $('endpoint').value = chosen;
}

/** deliveryId is the API's own: both ids as bytes, in base64url. */
function deliveryId(event, endpoint) {
  const hex = (event + endpoint).replaceAll('-', '');
  if (!/^[0-9a-f]{64}$/i.test(hex)) throw new Error('An event id looks like 0197c2f4-7a31-7c7e-9d0e-5b1f6a2c8d11');
  const bytes = hex.match(/../g).map((b) => String.fromCharCode(parseInt(b, 16))).join('');
  return btoa(bytes).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

let deliveryList = [], deliveryCursor = '';
async function deliveries(more = false) {
  const endpoint = $('endpoint').value, event = $('delivery-event').value.trim();
  if (!endpoint) return nothing($('delivery-rows'), 6, 'No endpoint is registered.');
  const path = 'webhooks/' + endpoint + '/deliveries';
  if (event) {
    deliveryList = [await ask(path + '/' + deliveryId(event, endpoint))];
    deliveryCursor = '';
  } else {
    const status = $('delivery-status').value;
    const page = await ask(path + '?pageSize=50' + (status ? '&status=' + status : '') + (more && deliveryCursor ? '&cursor=' + encodeURIComponent(deliveryCursor) : ''));
    deliveryList = more ? deliveryList.concat(page.items) : page.items;
    deliveryCursor = page.nextCursor || '';
  }
  $('delivery-more').hidden = !deliveryCursor;
  if (!deliveryList.length) return nothing($('delivery-rows'), 6, 'There are none.');
  $('delivery-rows').replaceChildren(...deliveryList.map((d) => {
    const row = element('tr');
    cell(row, 'Event', d.eventId);
    cell(row, 'Type', d.eventType);
    cell(row, 'State', d.status + (d.reason ? ': ' + d.reason : ''), d.status);
    cell(row, 'Attempts', d.attempts.length);
    cell(row, 'Next', when(d.nextAttemptAt), 'nowrap');
    const td = cell(row, '', '');
    td.append(button('Attempts', 'Show the attempts of event ' + d.eventId, () => attempts(d)));
    if (d.status !== 'pending') {
      td.append(' ', button('Replay', 'Replay event ' + d.eventId, () => act(
        'Deliver this event again?', d.eventType + ' goes to ' + $('endpoint').selectedOptions[0].textContent + ' once more, with the same id.', 'Replay',
        async () => { await ask('webhooks/' + d.endpointId + '/replay', 'POST', { deliveryId: d.id }); await later(deliveries); }, 'The event is on its way.')));
    }
    return row;
  }));
}

function attempts(d) {
  const box = $('attempts');
  const table = element('table'), head = element('thead'), rows = element('tbody'), names = element('tr');
  names.append(...['At', 'Status', 'Took', 'What happened'].map((t) => element('th', t, { scope: 'col' })));
  head.append(names);
  for (const a of d.attempts) {
    const row = element('tr');
    cell(row, 'At', when(a.at), 'nowrap');
    cell(row, 'Status', a.status ?? 'no answer');
    cell(row, 'Took', a.latencyMs + ' ms');
    cell(row, 'What happened', [a.error, a.responseExcerpt].filter(Boolean).join(' · '));
    rows.append(row);
  }
  table.append(head, rows);
  const scroll = element('div', undefined, { class: 'scroll' });
  scroll.append(table);
  box.replaceChildren(element('h3', 'Attempts of event ' + d.eventId + ' (' + d.eventType + ')'), d.attempts.length ? scroll : element('p', 'None was made yet.'));
  box.focus();
}

/** later looks again when what was started may have been done. */
const later = (look) => new Promise((r) => { setTimeout(r, 1000); }).then(() => look());

async function tried(...looks) {
  for (const look of looks) {
    try { await look(); } catch (e) { say(e.message); }
  }
}

function enter() {
  $('enter').hidden = true;
  $('main').hidden = $('leave').hidden = false;
  tried(live, switches, letters, parked, endpoints, deliveries);
}

function leave(why) {
  token = '';
  sessionStorage.removeItem('token');
  $('enter').hidden = false;
  $('main').hidden = $('leave').hidden = true;
  $('state').textContent = 'Not connected';
  if (why) say(why);
}

$('enter').addEventListener('submit', (e) => {
  e.preventDefault();
  token = $('token').value.trim();
  $('token').value = '';
  sessionStorage.setItem('token', token);
  enter();
  $('main').focus();
});
$('leave').addEventListener('click', () => { leave(); $('token').focus(); });
$('letter-search').addEventListener('input', showLetters);
$('letter-more').addEventListener('click', () => tried(() => letters(true)));
$('delivery-form').addEventListener('submit', (e) => { e.preventDefault(); tried(() => deliveries()); });
$('delivery-more').addEventListener('click', () => tried(() => deliveries(true)));
$('endpoint').addEventListener('change', () => tried(() => deliveries()));
$('replay-dead').addEventListener('click', () => act(
  'Deliver all dead events again?', 'Everything that this endpoint missed goes to it once more.', 'Replay all',
  async () => { await ask('webhooks/' + $('endpoint').value + '/replay', 'POST', { status: 'dead' }); await later(deliveries); }, 'They are on their way.'));

// The theme is the system's until somebody says otherwise.
function theme(name) {
  if (name) document.documentElement.dataset.theme = name;
  const dark = name ? name === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
  $('theme').textContent = dark ? 'Light' : 'Dark';
  $('theme').setAttribute('aria-label', 'Use the ' + (dark ? 'light' : 'dark') + ' theme');
}
theme(localStorage.getItem('theme'));
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => theme(localStorage.getItem('theme')));
$('theme').addEventListener('click', () => {
  const next = $('theme').textContent.toLowerCase();
  localStorage.setItem('theme', next);
  theme(next);
});

setInterval(live, 2000);
setInterval(() => { if (token && !document.hidden) tried(switches); }, 10000);
if (token) enter();
