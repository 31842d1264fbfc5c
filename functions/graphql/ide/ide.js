// Starts GraphiQL. It is a file because the page's policy allows no script inside of it.
"use strict";

const { React, createRoot, GraphiQL } = window.GraphiQLBundle;
const tokenURL = document.body.dataset.tokenUrl;

const welcome = `# Products, by pages. Ctrl-Enter runs the query; Ctrl-Space shows what there is.
query Products {
  products(first: 5) {
    edges {
      node {
        id
        name
        price { amount currency }
        stock
      }
    }
    pageInfo { hasNextPage endCursor }
  }
}
`;

// On a local run the issuer gives a token to whoever asks; it is renewed before it ends.
let token = "";
let until = 0;
async function localToken() {
  if (!tokenURL || Date.now() < until) return token;
  const form = new URLSearchParams({
    grant_type: "client_credentials",
    sub: "customer-1",
    scope: "catalog:read order:read order:write order:cancel",
  });
  const answer = await fetch(tokenURL, { method: "POST", body: form });
  if (!answer.ok) throw new Error(`no token: ${answer.status}`);
  const { access_token: fresh, expires_in: seconds } = await answer.json();
  token = fresh;
  until = Date.now() + (seconds - 60) * 1000;
  return token;
}

let filled = "";
async function ask(params, { headers = {} } = {}) {
  const send = { "Content-Type": "application/json", Accept: "application/graphql-response+json", ...headers };
  const names = Object.keys(send).map((name) => name.toLowerCase());
  if (tokenURL && (!names.includes("authorization") || send.Authorization === filled)) {
    send.Authorization = "Bearer " + (await localToken());
  }
  // A mutation needs one; to repeat a request with its key, write the key into the headers.
  if (!names.includes("idempotency-key")) send["Idempotency-Key"] = crypto.randomUUID();
  const answer = await fetch(location.pathname, { method: "POST", headers: send, body: JSON.stringify(params) });
  return answer.json();
}

async function start() {
  let headers = '{"Authorization": "Bearer ..."}';
  try {
    const local = await localToken();
    if (local) {
      filled = "Bearer " + local;
      headers = JSON.stringify({ Authorization: filled }, null, 2);
    }
  } catch (problem) {
    console.warn("the local issuer gave no token:", problem);
  }
  const root = document.getElementById("graphiql");
  createRoot(root).render(
    React.createElement(GraphiQL, { fetcher: ask, defaultQuery: welcome, defaultHeaders: headers, headers, shouldPersistHeaders: false }),
  );
}

start();
