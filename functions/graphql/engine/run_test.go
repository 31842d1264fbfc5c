package engine_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/functions/graphql/engine"
)

// The answer has the order of the question: aliases, fragments and merged fields where they first stand.
func TestTheAnswerHasTheOrderOfTheQuestion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.run(t, `query Q($yes: Boolean!, $no: Boolean!) {
		z: node(n: 1) { name ...F id }
		a: node(n: 2) { __typename tags name @skip(if: $yes) id @include(if: $yes) child @include(if: $no) { id } }
		z: node(n: 1) { child { id } }
	} fragment F on Node { child { name } ... on Named { name } ... on Node { id } }`, map[string]any{"yes": true, "no": false})
	require.Empty(t, r.Errors)
	assert.Equal(t, //nolint:testifylint // the order is what is tested
		`{"z":{"name":"\u003cn1\u003e","child":{"name":"\u003cn2\u003e","id":"2"},"id":"1"},"a":{"__typename":"Node","tags":["a","b"],"id":"2"}}`, string(r.Data))
}

func TestFragmentsGoByTheTypeOfEachObject(t *testing.T) {
	t.Parallel()
	r := newWorld(t).run(t, `{ named { __typename name ... on Other { weight } ... on Node { id } } }`, nil)
	assert.JSONEq(t, `{"named":[{"__typename":"Node","name":"<n1>","id":"1"},{"__typename":"Other","name":"other","weight":1.5},null,null]}`, string(r.Data))
	require.Len(t, r.Errors, 1)
	assert.Equal(t, []any{"named", 3}, r.Errors[0].Path)
}

// All objects of a depth ask together, whatever branch they stand in.
func TestADepthAsksOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.run(t, `{ list(first: 5) { children { child { child { id } } } } }`, nil)
	require.Empty(t, r.Errors)
	assert.Equal(t, []int{5, 10, 10}, w.calls, "children of five, child of ten, child of ten")
	assert.Equal(t, 5+5*2+10+10, r.Cost, "what was there")
}

func TestNullsRiseToWhereTheyMayBe(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		query, want string
		errors      int
	}{
		{`{ node(n: 42) { id } }`, `{"node":null}`, 0},
		{`{ must(n: 42) { id } a: node(n: 1) { id } }`, `null`, 1},
		{`{ node(n: 6) { id child { id } } }`, `{"node":{"id":"6","child":null}}`, 0},
		{`{ node(n: 6) { id sure { id } } }`, `{"node":null}`, 1},
		{`{ node(n: 5) { child { id sure { id } } } }`, `{"node":{"child":null}}`, 1},
		{`{ a: node(n: 8) { id sure { id } } b: node(n: 1) { id } }`, `{"a":null,"b":{"id":"1"}}`, 1},
		{`{ must(n: 12) { sure { id } } }`, `null`, 1},
		{`{ node(n: 1) { maybe { id } } }`, `{"node":{"maybe":[null,{"id":"2"}]}}`, 0},
		{`{ a: node(n: 12) { id child { id } } b: node(n: 1) { id } }`, `{"a":{"id":"12","child":null},"b":{"id":"1"}}`, 1},
		{`{ node(n: 1) { children { id sure { id } } } }`, `{"node":{"children":[{"id":"11","sure":{"id":"12"}},{"id":"21","sure":{"id":"22"}}]}}`, 0},
		{`{ node(n: -4) { id children { id sure { id } } } }`, `{"node":null}`, 1}, // one of its children is 6
		{`{ named { ... on Node { child { sure { id } } } } }`, `{"named":[{"child":{"sure":{"id":"3"}}},{},null,null]}`, 1},
	} {
		r := newWorld(t).run(t, c.query, nil)
		assert.Equal(t, c.want, string(r.Data), c.query)
		assert.Len(t, r.Errors, c.errors, c.query)
		for _, e := range r.Errors {
			raw := string(e.AppendJSON(nil))
			assert.True(t, json.Valid([]byte(raw)), raw)
			assert.NotContains(t, raw, "hunter2", "what our database says")
			assert.NotContains(t, raw, "secret-internal", "what a panic says")
			assert.NotEmpty(t, e.Path)
			assert.NotEmpty(t, e.Locations)
		}
	}
}

func TestAFieldOfAPolicyIsNotAskedForWithoutIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.run(t, `{ secret { id } node(n: 1) { id } }`, nil)
	assert.JSONEq(t, `{"secret":null,"node":{"id":"1"}}`, string(r.Data))
	require.Len(t, r.Errors, 1)
	assert.Equal(t, "FORBIDDEN", r.Errors[0].Code)
	assert.Equal(t, []string{"secret"}, w.Policies())
}

// Fields of a mutation run one after the other, in the order of the document also when they come by a fragment, each
// with all that is below it.
func TestMutationsRunInOrder(t *testing.T) {
	t.Parallel()
	for range 50 {
		w := newWorld(t)
		r := w.run(t, `mutation M @idempotent(key: "whole") { a: write(n: 3) { children { id } } ...F b: write(n: 1) @idempotent(key: "own") { id } }
			fragment F on Mutation { c: write(n: 2) { id } }`, nil)
		require.Empty(t, r.Errors)
		require.Equal(t, []string{"3", "read", "2", "1"}, w.writes)
		require.Equal(t, []string{"", "", "own"}, w.keys)
	}
}

// What waits waits together, and nothing goes on after the deadline.
func TestWaitingIsSharedAndEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	began := time.Now()
	r := w.run(t, `{ a: slow(n: 1) { id } b: slow(n: 2) { id } c: slow(n: 3) { id } d: slow(n: 4) { id } }`, nil)
	require.Empty(t, r.Errors)
	assert.Less(t, time.Since(began), 190*time.Millisecond, "four times 50 ms, side by side")
	b, err := w.bind(`{ a: slow(n: 1) { id child { id } } }`, nil)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	r = w.execute(ctx, b)
	assert.Equal(t, `{"a":null}`, string(r.Data))
	assert.Len(t, r.Errors, 1)
}

func TestCostIsKnownBefore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for query, want := range map[string]int{
		`{ node(n: 1) { id } }`: 1,
		`{ list { id } }`:       3,
		`{ list(first: 10) { child { id } children(first: 5) { id } } }`: 10 * (1 + 1 + 5),
		`query($n: Int) { list(first: $n) { id } }`:                      7,
		`mutation { write(n: 1) { child { id } } }`:                      11,
		`{ named { ... on Node { child { id } } } }`:                     1,
	} {
		b, err := w.bind(query, map[string]any{"n": json.Number("7")})
		require.NoError(t, err, query)
		assert.Equal(t, want, b.Cost, query)
	}
	_, err := w.bind(`{ list(first: 2000000000) { children(first: 2000000000) { children(first: 2000000000) { id } } } }`, nil)
	var refusal *engine.Refusal
	require.ErrorAs(t, err, &refusal)
	assert.Equal(t, engine.CodeTooLarge, refusal.Errors[0].Code)
}

func TestHowLongAnAnswerIsGood(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for query, want := range map[string]int{
		`{ open { id } }`: 60, `{ open { id } open2 { id } __typename }`: 30, `{ open { id } node(n: 1) { id } }`: -1, `{ __schema { queryType { name } } }`: -1,
	} {
		b, err := w.bind(query, nil)
		require.NoError(t, err)
		assert.Equal(t, want, b.MaxAge(), query)
	}
}

// What the document's bounds can't see, as it depends on the data, ends with one error and no data, however much of it there is.
func TestAnAnswerIsBounded(t *testing.T) {
	t.Parallel()
	const query = `{ list(first: 5) { id children { id child { id } } } }`
	whole := newWorld(t).run(t, query, nil)
	require.NotEqual(t, "null", string(whole.Data))
	for name, change := range map[string]func(*engine.Limits){
		"objects": func(l *engine.Limits) { l.Objects = 5 },
		"bytes":   func(l *engine.Limits) { l.Answer = len(whole.Data) / 2 },
	} {
		r := newWorld(t, change).run(t, query, nil)
		assert.Equal(t, "null", string(r.Data), name)
		if assert.Len(t, r.Errors, 1, name) {
			assert.Equal(t, engine.CodeTooLarge, r.Errors[0].Code, name)
		}
	}
}
