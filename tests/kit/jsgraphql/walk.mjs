// Walks all pages of a category with urql, forward and backward: {url, token, category} on stdin.
import { readFileSync } from "node:fs";
import { Client, fetchExchange } from "@urql/core";
import { persistedExchange } from "@urql/exchange-persisted";

const { url, token, category } = JSON.parse(readFileSync(0, "utf8"));
let requests = 0;
let persisted = 0;
const client = new Client({
  url,
  preferGetMethod: false,
  requestPolicy: "network-only",
  exchanges: [persistedExchange({ preferGetForPersistedQueries: true, enableForMutation: false }), fetchExchange],
  fetchOptions: { headers: { authorization: `Bearer ${token}` } },
  fetch: (address, init) => {
    requests++;
    const text = `${address} ${init?.body ?? ""}`;
    if (text.includes("sha256Hash") && !/[?&]query=/.test(address) && !String(init?.body ?? "").includes('"query"')) persisted++;
    return fetch(address, init);
  },
});
const page = `edges { node { id } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor }`;
const queries = {
  forward: `query Forward($after: String, $filter: ProductFilter) { products(first: 3, after: $after, filter: $filter, sort: PRICE_ASC) { ${page} } }`,
  backward: `query Backward($before: String, $filter: ProductFilter) { products(last: 3, before: $before, filter: $filter, sort: PRICE_ASC) { ${page} } }`,
};
const seen = { forward: [], backward: [] };
for (const way of ["forward", "backward"]) {
  const variables = { filter: { category } };
  for (;;) {
    const { data, error } = await client.query(queries[way], { ...variables }).toPromise();
    if (error) throw error;
    const { edges, pageInfo } = data.products;
    const ids = edges.map((e) => e.node.id);
    if (way === "forward") seen.forward.push(...ids);
    else seen.backward.unshift(...ids);
    if (way === "forward" ? !pageInfo.hasNextPage : !pageInfo.hasPreviousPage) break;
    variables[way === "forward" ? "after" : "before"] = way === "forward" ? pageInfo.endCursor : pageInfo.startCursor;
  }
}
const failed = await client.query(`{ product(id: "x") { id } }`, {}).toPromise();
console.log(JSON.stringify({ ...seen, requests, persisted, failed: failed.error?.graphQLErrors?.[0]?.extensions?.code ?? String(failed.error) }));
