// Asks a server for its schema and compares: {url, token, source, released} on stdin, {served, source, breaking, relay} on stdout.
import { readFileSync } from "node:fs";
import {
  buildClientSchema, buildSchema, findBreakingChanges, getIntrospectionQuery, isObjectType, lexicographicSortSchema, printSchema,
} from "graphql";

const { url, token, source, released } = JSON.parse(readFileSync(0, "utf8"));
const answer = await fetch(url, {
  method: "POST",
  headers: { authorization: `Bearer ${token}`, "content-type": "application/json", accept: "application/graphql-response+json" },
  body: JSON.stringify({ query: getIntrospectionQuery() }),
});
const { data, errors } = await answer.json();
if (errors) throw new Error(JSON.stringify(errors));
const print = (schema) => printSchema(lexicographicSortSchema(schema));
const schema = buildSchema(source);

// https://relay.dev/graphql/connections.htm and .../objectidentification.htm
const relay = [];
const expect = (ok, text) => ok || relay.push(text);
const is = (type, field, want) => expect(String(type?.getFields()[field]?.type) === want, `${type}.${field} is not ${want}`);
is(schema.getType("Node"), "id", "ID!");
is(schema.getQueryType(), "node", "Node");
expect(String(schema.getQueryType().getFields().node.args.map((a) => `${a.name}: ${a.type}`)) === "id: ID!", "node does not take id: ID!");
const info = schema.getType("PageInfo");
for (const [name, want] of [["hasNextPage", "Boolean!"], ["hasPreviousPage", "Boolean!"], ["startCursor", "String"], ["endCursor", "String"]]) is(info, name, want);
for (const type of Object.values(schema.getTypeMap())) {
  if (!isObjectType(type) || type.name.startsWith("__")) continue;
  if (type.name.endsWith("Connection")) {
    const item = type.name.slice(0, -"Connection".length);
    is(type, "pageInfo", "PageInfo!");
    is(type, "edges", `[${item}Edge]`);
    is(schema.getType(`${item}Edge`), "node", item);
    is(schema.getType(`${item}Edge`), "cursor", "String!");
  }
  for (const field of Object.values(type.getFields())) {
    const args = Object.fromEntries(field.args.map((a) => [a.name, String(a.type)]));
    if (String(field.type).includes("Connection")) {
      for (const [name, want] of [["first", "Int"], ["after", "String"], ["last", "Int"], ["before", "String"]]) {
        expect(args[name] === want, `${type}.${field.name} has no ${name}: ${want}`);
      }
    }
    if (type === schema.getMutationType()) {
      expect(Object.keys(args).join() === "input" && args.input.endsWith("Input!"), `${field.name} does not take one input`);
      expect("clientMutationId" in (schema.getType(args.input.slice(0, -1))?.getFields() ?? {}), `the input of ${field.name} has no clientMutationId`);
      const payload = schema.getType(String(field.type).replace("!", ""));
      for (const name of ["clientMutationId", "userErrors"]) expect(name in payload.getFields(), `${payload} has no ${name}`);
    }
  }
}

console.log(JSON.stringify({
  served: print(buildClientSchema(data)),
  source: print(schema),
  breaking: findBreakingChanges(buildSchema(released), schema).map((c) => `${c.type}: ${c.description}`),
  relay,
}));
