// Makes ../graphiql.js.gz, ../graphiql.css.gz and ../LICENSES from the packages of package-lock.json: npm ci --ignore-scripts && npm run build
// The same packages make the same bytes, and the digests in ../README.md are those.
import { build } from "esbuild";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { createHash } from "node:crypto";

const options = { bundle: true, minify: true, write: false, legalComments: "none", target: "es2020", logLevel: "error" };
const script = await build({
  ...options, entryPoints: ["entry.js"], format: "iife", metafile: true, define: { "process.env.NODE_ENV": '"production"' },
});
// The system's own fonts do; without the embedded ones the sheet is an eighth of its size.
const sheet = readFileSync("node_modules/graphiql/graphiql.css", "utf8").replace(/@font-face\s*\{[^}]*\}/g, "");
const style = await build({ ...options, stdin: { contents: sheet, loader: "css" } });

const packages = new Set();
for (const file of Object.keys(script.metafile.inputs)) {
  const found = file.match(/^node_modules\/((?:@[^/]+\/)?[^/]+)/);
  if (found) packages.add(found[1]);
}
let licences = "What is in graphiql.js and graphiql.css, and under which terms.\n";
for (const name of [...packages].sort()) {
  const folder = `node_modules/${name}`;
  const about = JSON.parse(readFileSync(`${folder}/package.json`, "utf8"));
  licences += `\n${"-".repeat(72)}\n${name} ${about.version} (${about.license})\n\n`;
  const text = readdirSync(folder).find((f) => /^licen[cs]e/i.test(f));
  licences += text ? readFileSync(`${folder}/${text}`, "utf8").trim() + "\n" : "No licence file in the package; see its page in the npm registry.\n";
}
writeFileSync("../LICENSES", licences);

for (const [name, bytes] of [["graphiql.js", script.outputFiles[0].contents], ["graphiql.css", style.outputFiles[0].contents]]) {
  const packed = gzipSync(bytes, { level: 9 });
  packed[9] = 255; // the header's operating system: not this machine's
  writeFileSync(`../${name}.gz`, packed);
  console.log(name, bytes.length, createHash("sha256").update(bytes).digest("hex"));
}
