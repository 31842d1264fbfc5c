package engine_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/company/order-catalog-service/functions/graphql/engine"
)

// FuzzPipeline takes any text and any variables from the scan to the answer: it must end, soon, and in JSON.
func FuzzPipeline(f *testing.F) {
	for _, k := range killers() {
		if len(k.query) < 4000 {
			f.Add(k.query, `{}`)
		}
	}
	f.Add(`query Q($n: Int! = 1, $f: Filter, $b: Boolean) { node(n: $n) { ...F @include(if: $b) } list(filter: $f) { tags } } fragment F on Named { name __typename }`,
		`{"n": 5, "f": {"min": 1, "colour": "RED", "tags": ["a"], "inner": {"tags": "b"}}, "b": true}`)
	f.Add(`mutation @idempotent(key: "k") { write(n: 1) { maybe { id } } b: write(n: 12) { child { id } sure { id } } }`, `null`)
	f.Add(`{ __type(name: "Query") { name fields(includeDeprecated: true) { name args { name defaultValue } } } __schema { directives { name locations } } }`, `{}`)
	f.Add(`subscription { node(n: 1) { id } }`, `{"a": [[[[]]]]}`)
	f.Add("query Q { named { ... on Other { weight } } } type X { a: Int }", `{"n": 1e400}`)
	w := newWorld(f)
	f.Fuzz(func(t *testing.T, query, variables string) {
		began := time.Now()
		var given map[string]any
		numbers := json.NewDecoder(bytes.NewReader([]byte(variables)))
		numbers.UseNumber()
		_ = numbers.Decode(&given) // what is no JSON never comes here
		w.calls, w.args, w.writes, w.keys = nil, nil, nil, nil
		b, err := w.bind(query, given)
		if err != nil {
			var refusal *engine.Refusal
			if !errors.As(err, &refusal) || len(refusal.Errors) == 0 {
				t.Fatalf("refused with %v", err)
			}
			for _, e := range refusal.Errors {
				if raw := e.AppendJSON(nil); !json.Valid(raw) {
					t.Fatalf("an error that is no JSON: %s", raw)
				}
				for _, l := range e.Locations {
					if l.Line < 1 || l.Column < 1 {
						t.Fatalf("%s is at %+v", e.Message, l)
					}
				}
			}
			return
		}
		if b.Cost < 0 || b.Cost > engine.DefaultLimits().Cost {
			t.Fatalf("it costs %d", b.Cost)
		}
		r := w.execute(t.Context(), b)
		if !json.Valid(r.Data) {
			t.Fatalf("data that is no JSON: %s", r.Data)
		}
		if string(r.Data) == "null" && len(r.Errors) == 0 {
			t.Fatal("null, and nobody says why")
		}
		for _, e := range r.Errors {
			if raw := e.AppendJSON(nil); !json.Valid(raw) || len(e.Path) == 0 {
				t.Fatalf("an error that is no JSON or nowhere: %s", raw)
			}
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Fatalf("it took %s", took)
		}
	})
}
