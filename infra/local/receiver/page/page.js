"use strict";

const $ = (id) => document.getElementById(id);

// What came from outside only ever becomes text.
function make(tag, attributes = {}, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
  e.append(...children);
  return e;
}

const tag = (kind, text) => make("span", { class: `tag ${kind}` }, text);

function pretty(body) {
  try {
    return JSON.stringify(JSON.parse(body), null, 2);
  } catch {
    return body;
  }
}

function row(d) {
  const at = new Date(d.at);
  const time = make("time", { datetime: d.at }, at.toLocaleTimeString([], { hour12: false }) + "." + String(at.getMilliseconds()).padStart(3, "0"));
  const event = make("details", {}, make("summary", {}, d.type || "(no type)"), make("pre", {}, pretty(d.body)));
  const id = make("span", { class: "id", title: d.id }, d.id.length > 18 ? `${d.id.slice(0, 8)}…${d.id.slice(-8)}` : d.id || "none");
  const attempt = make("span", {}, d.attempt ? `${d.attempt} ` : "");
  if (d.duplicate) attempt.append(tag("warn", "duplicate"));
  if (d.changed) attempt.append(" ", tag("bad", "other bytes"));
  const signed = make("span", {}, d.verified ? tag("good", "verified") : tag("bad", "refused"));
  if (d.problem) signed.append(make("span", { class: "why" }, d.problem));
  const kind = d.status >= 200 && d.status < 300 && d.mode === "ok" ? "good" : d.status ? "bad" : "warn";
  const answered = make("span", {}, tag(kind, d.status || "nothing"), ` ${d.mode}`);
  return make("tr", {}, ...[time, event, id, attempt, signed, answered].map((cell) => make("td", {}, cell)));
}

const rows = new Map(); // by number and time: an open body stays open while others come
const key = (d) => `${d.n} ${d.at}`;

function showList(deliveries) {
  const now = new Set(deliveries.map(key));
  for (const [k, tr] of rows) {
    if (!now.has(k)) {
      tr.remove();
      rows.delete(k);
    }
  }
  for (const d of [...deliveries].reverse()) {
    if (rows.has(key(d))) continue;
    const tr = row(d);
    rows.set(key(d), tr);
    $("list").prepend(tr);
  }
  $("empty").hidden = deliveries.length > 0;
}

function showModes(modes, current) {
  if (!$("modes").childElementCount) {
    for (const m of modes) {
      const button = make("button", { type: "button", title: m.says }, m.name);
      button.addEventListener("click", () => send("POST", "switch", { mode: m.name }));
      $("modes").append(button);
    }
  }
  for (const button of $("modes").children) button.setAttribute("aria-pressed", String(button.textContent === current));
  const says = modes.find((m) => m.name === current).says;
  if ($("says").textContent !== says) $("says").textContent = says;
}

function showTotals(totals) {
  const names = { received: "Received", accepted: "Accepted", duplicates: "Duplicates", unverified: "Not verified", changed: "Other bytes" };
  $("totals").replaceChildren(...Object.entries(names).map(([key, name]) =>
    make("div", {}, make("dt", {}, name), make("dd", { class: key === "changed" && totals[key] ? "alarm" : "" }, String(totals[key])))));
}

async function refresh() {
  try {
    const res = await fetch("received?limit=100");
    const got = await res.json();
    $("keys").textContent = got.keys ? `It verifies with ${got.keys} ${got.keys === 1 ? "key" : "keys"}.` : "It knows no secret yet: pipe the answer of register into POST /secrets.";
    showModes(got.modes, got.mode);
    showTotals(got.totals);
    showList(got.deliveries);
    $("trouble").hidden = true;
  } catch {
    $("trouble").hidden = false;
  }
}

async function send(method, path, body) {
  await fetch(path, { method, body: body && JSON.stringify(body) }).catch(() => {});
  await refresh();
}

$("clear").addEventListener("click", () => send("DELETE", "received"));
refresh();
setInterval(() => { if (!document.hidden) refresh(); }, 1000);
