// Runs the audits of graphql-http against a server: {url, token} on stdin, [{id, name, status, reason}] on stdout.
import { readFileSync } from "node:fs";
import { serverAudits } from "graphql-http";

const { url, token } = JSON.parse(readFileSync(0, "utf8"));
const fetchFn = (address, init = {}) => fetch(address, { ...init, headers: { ...init.headers, authorization: `Bearer ${token}` } });
const results = [];
for (const audit of serverAudits({ url, fetchFn })) {
  const { id, name, status, reason = "" } = await audit.fn();
  results.push({ id, name, status, reason });
}
console.log(JSON.stringify(results));
