package engine_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/functions/graphql/engine"
)

func variables(t *testing.T, text string) (given map[string]any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.UseNumber()
	require.NoError(t, d.Decode(&given))
	return given
}

// Variables are what they are declared to be, or the operation does not run.
func TestVariablesAreStrict(t *testing.T) {
	t.Parallel()
	const query = `query($n: Int!, $f: Filter) { node(n: $n) { id } list(filter: $f) { id } }`
	for given, wrong := range map[string]string{
		`{"n": 1}`:                       "",
		`{"n": 2.0}`:                     "",
		`{"n": 1, "f": null}`:            "",
		`{"n": 1, "f": {"tags": "one"}}`: "",
		`{"n": 1, "f": {"colour": "GREEN"}, "unknown": 5}`: "",
		`{}`:                                    "Variable $n of required type Int! was not provided.",
		`{"n": null}`:                           "Variable $n is null, and of the type Int!.",
		`{"n": 1.5}`:                            "Variable $n is not a whole number of 32 bits.",
		`{"n": 3000000000}`:                     "Variable $n is not a whole number of 32 bits.",
		`{"n": "1"}`:                            "Variable $n is not a whole number of 32 bits.",
		`{"n": true}`:                           "Variable $n is not a whole number of 32 bits.",
		`{"n": 1, "f": {"min": "x"}}`:           "Variable $f at min is not a whole number of 32 bits.",
		`{"n": 1, "f": {"tags": ["a", 5]}}`:     "Variable $f at tags[1] is not a text.",
		`{"n": 1, "f": {"tags": [null]}}`:       "Variable $f at tags[0] is null, and of the type String!.",
		`{"n": 1, "f": {"colour": "BLUE"}}`:     "Variable $f at colour is not a value of Colour.",
		`{"n": 1, "f": {"nope": 1}}`:            `Variable $f has "nope", which Filter does not.`,
		`{"n": 1, "f": [1]}`:                    "Variable $f is not an object of the type Filter.",
		`{"n": 1, "f": {"tags": ["\u0000"]}}`:   "Variable $f at tags[0] holds bytes that are not UTF-8 text, or the character U+0000.",
		`{"n": 1, "f": {"inner": {"min": {}}}}`: "Variable $f at inner.min is not a whole number of 32 bits.",
	} {
		_, err := newWorld(t).bind(query, variables(t, given))
		if wrong == "" {
			assert.NoError(t, err, given)
			continue
		}
		var refusal *engine.Refusal
		require.ErrorAs(t, err, &refusal, given)
		assert.Equal(t, wrong, refusal.Errors[0].Message, given)
		assert.Equal(t, engine.Binding, refusal.Stage)
	}
}

// What is left out is not there, and null is null: a client can say either by a variable.
func TestNullIsNotAbsent(t *testing.T) {
	t.Parallel()
	const query = `query($min: Int, $colour: Colour = RED, $tags: [String!]) { list(filter: {min: $min, colour: $colour, tags: $tags}) { id } }`
	w := newWorld(t)
	for given, want := range map[string]engine.Args{
		`{}`:                             {"filter": map[string]any{"colour": "RED"}},
		`{"min": null, "colour": null}`:  {"filter": map[string]any{"min": nil, "colour": nil}},
		`{"min": 3, "tags": ["a", "b"]}`: {"filter": map[string]any{"min": 3, "colour": "RED", "tags": []any{"a", "b"}}},
	} {
		w.args = nil
		w.run(t, query, variables(t, given))
		assert.Equal(t, []engine.Args{want}, w.args, given)
	}
}

// The library's parser has no null, and would say so in a way that helps nobody.
func TestANullLiteralIsRefusedInWords(t *testing.T) {
	t.Parallel()
	for query, ok := range map[string]bool{
		`{ list(filter: null) { id } }`: false, `{ list(filter: {min: null}) { id } }`: false, `{ list(filter: {tags: ["a", null]}) { id } }`: false,
		`query($n: Int = null) { node(n: 1) { id } }`: false, `{ null: node(n: 1) { id } }`: true, `query($null: Int!) { node(n: $null) { id } }`: true,
		`{ list(filter: {tags: "null"}) { id } }`: true,
	} {
		_, err := newWorld(t).bind(query, map[string]any{"null": json.Number("1")})
		if ok {
			assert.NoError(t, err, query)
		} else {
			assert.ErrorContains(t, err, "send null as a variable", query)
		}
	}
}

func TestBuildNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	leaf := engine.Field{Leaf: func(out []byte, _ any) []byte { return out }}
	for sdl, want := range map[string]string{
		`type Query { a: Int }`:                    "Query.a has no resolver",
		`type Query { b: Int }`:                    "Query.gone has a resolver",
		`type Query { b: Query }`:                  "Query.b: Leaf is for scalars",
		`type Query { b(n: Int): Int }`:            "takes arguments",
		`type Query { b: Nope }`:                   "Nope",
		`type Query { b: Int @cost(weight: 1.5) }`: "@cost",
		`type Query { b: Int } union U = Query`:    "UnionDefinition",
		`type Query { b: Int`:                      "reading the schema",
	} {
		_, err := engine.Build(engine.Options{SDL: sdl, Resolvers: engine.Resolvers{"Query.b": leaf, "Query.gone": leaf}})
		assert.ErrorContains(t, err, want, sdl)
	}
}
