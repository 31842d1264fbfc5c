// Reads [{key, headers, body}] (body in base64) from standard input and writes, for each, "" when a stranger's
// code verifies it, else why not: the published library for whsec_ secrets, OpenSSL (in Node) for whpk_ keys,
// which that library doesn't know yet.
"use strict";
const { createPublicKey, verify } = require("node:crypto");
const { Webhook } = require("standardwebhooks");

function check({ key, headers, body }) {
  const bytes = Buffer.from(body, "base64");
  if (key.startsWith("whsec_")) {
    new Webhook(key).verify(bytes.toString("utf8"), headers, { jsonParse: false });
    return;
  }
  const x = Buffer.from(key.slice("whpk_".length), "base64").toString("base64url");
  const publicKey = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
  const content = Buffer.concat([Buffer.from(`${headers["webhook-id"]}.${headers["webhook-timestamp"]}.`), bytes]);
  for (const one of headers["webhook-signature"].split(" ")) {
    const [version, signature] = one.split(",");
    if (version === "v1a" && verify(null, content, publicKey, Buffer.from(signature, "base64"))) return;
  }
  throw new Error("No matching signature found");
}

let input = "";
process.stdin.on("data", (chunk) => { input += chunk; });
process.stdin.on("end", () => {
  process.stdout.write(JSON.stringify(JSON.parse(input).map((one) => {
    try {
      check(one);
      return "";
    } catch (err) {
      return err.message;
    }
  })));
});
