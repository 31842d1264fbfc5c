package engine_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/functions/graphql/engine"
)

const sdl = `
directive @authorize(policy: String!) on FIELD_DEFINITION
directive @cost(weight: Int!) on FIELD_DEFINITION
directive @listSize(assumedSize: Int!, slicingArguments: [String!]) on FIELD_DEFINITION
directive @cacheControl(maxAge: Int!) on FIELD_DEFINITION
directive @idempotent(key: String!) on MUTATION | FIELD

interface Named { name: String! }
enum Colour { RED GREEN }
input Filter { min: Int colour: Colour tags: [String!] inner: Filter }

type Query {
  node(n: Int!): Node @cost(weight: 1)
  must(n: Int!): Node! @cost(weight: 1)
  list(first: Int, filter: Filter): [Node!] @cost(weight: 1) @listSize(assumedSize: 3, slicingArguments: ["first"])
  named: [Named]
  secret: Node @authorize(policy: "secret")
  open: Node @cacheControl(maxAge: 60)
  open2: Node @cacheControl(maxAge: 30)
  slow(n: Int!): Node
}
type Mutation { write(n: Int!): Node @cost(weight: 10) }
type Node implements Named {
  id: ID!
  name: String!
  tags: [String!]!
  child: Node @cost(weight: 1)
  sure: Node! @cost(weight: 1)
  children(first: Int): [Node!]! @cost(weight: 1) @listSize(assumedSize: 2, slicingArguments: ["first"])
  maybe: [Node]
}
type Other implements Named { name: String! weight: Float }
`

type node struct{ n int }

type other struct{}

// world counts what is asked of it, and remembers arguments and writes.
type world struct {
	*engine.Schema
	calls  []int // parents of each Load of child
	args   []engine.Args
	writes []string
	keys   []string
}

var (
	errRefused = errors.New("refused")
	errSecret  = errors.New("pq: the password is hunter2")
)

func one(v any, err error) []engine.Result { return []engine.Result{{Value: v, Err: err}} }

// newWorld makes a schema in which node n has the child n+1; 13 panics, 7 has no child, 9 fails, 42 is null.
func newWorld(t testing.TB, change ...func(*engine.Limits)) *world {
	t.Helper()
	w := &world{}
	text := func(get func(any) string) engine.Field {
		return engine.Field{Leaf: func(out []byte, v any) []byte { return engine.AppendText(out, get(v)) }}
	}
	child := func(count bool) func(context.Context, engine.Input) engine.Pending {
		return func(_ context.Context, in engine.Input) engine.Pending {
			return func() []engine.Result {
				if count {
					w.calls = append(w.calls, len(in.Parents))
				}
				out := make([]engine.Result, len(in.Parents))
				for i, p := range in.Parents {
					switch n := p.(*node).n + 1; n {
					case 13:
						panic("secret-internal")
					case 9:
						out[i].Err = errSecret
					case 7:
					default:
						out[i].Value = &node{n}
					}
				}
				return out
			}
		}
	}
	root := func(_ context.Context, in engine.Input) engine.Pending {
		w.args = append(w.args, in.Args)
		return func() []engine.Result {
			if n, _ := in.Args.Int("n"); n != 42 {
				return one(&node{n}, nil)
			}
			return one(nil, nil)
		}
	}
	limits := engine.DefaultLimits()
	for _, f := range change {
		f(&limits)
	}
	constant := func(v any) func(context.Context, engine.Input) engine.Pending {
		return func(context.Context, engine.Input) engine.Pending {
			return func() []engine.Result { return one(v, nil) }
		}
	}
	var err error
	w.Schema, err = engine.Build(engine.Options{
		SDL: sdl, Limits: limits,
		TypeOf: func(v any) string {
			if _, ok := v.(*node); ok {
				return "Node"
			}
			return "Other"
		},
		Resolvers: engine.Resolvers{
			"Query.node": {Load: root}, "Query.must": {Load: root},
			"Query.list": {Load: func(_ context.Context, in engine.Input) engine.Pending {
				w.args = append(w.args, in.Args)
				return func() []engine.Result {
					n, ok := in.Args.Int("first")
					if !ok {
						n = 3
					}
					list := engine.List{}
					for i := range n {
						list = append(list, &node{100 * i})
					}
					return one(list, nil)
				}
			}},
			"Query.named":  {Load: constant(engine.List{&node{1}, &other{}, nil, errRefused})},
			"Query.secret": {Load: func(context.Context, engine.Input) engine.Pending { panic("asked for what is not allowed") }},
			"Query.open":   {Load: constant(&node{1})}, "Query.open2": {Load: constant(&node{1})},
			"Query.slow": {Load: func(ctx context.Context, _ engine.Input) engine.Pending {
				return func() []engine.Result {
					select {
					case <-ctx.Done():
						return one(nil, ctx.Err())
					case <-time.After(50 * time.Millisecond):
						return one(&node{1}, nil)
					}
				}
			}},
			"Mutation.write": {Load: func(_ context.Context, in engine.Input) engine.Pending {
				return func() []engine.Result {
					n, _ := in.Args.Int("n")
					w.writes = append(w.writes, strconv.Itoa(n))
					w.keys = append(w.keys, in.Key)
					return one(&node{n}, nil)
				}
			}},
			"Node.id":    text(func(v any) string { return fmt.Sprint(v.(*node).n) }),
			"Node.name":  text(func(v any) string { return fmt.Sprintf("<n%d>", v.(*node).n) }),
			"Node.tags":  {Leaf: func(out []byte, _ any) []byte { return append(out, `["a","b"]`...) }},
			"Node.child": {Load: child(true)}, "Node.sure": {Load: child(false)},
			"Node.children": {Load: func(_ context.Context, in engine.Input) engine.Pending {
				return func() []engine.Result {
					w.writes = append(w.writes, "read")
					w.calls = append(w.calls, len(in.Parents))
					out := make([]engine.Result, len(in.Parents))
					for i, p := range in.Parents {
						n := p.(*node).n
						out[i].Value = engine.List{&node{n + 10}, &node{n + 20}}
					}
					return out
				}
			}},
			"Node.maybe":   {Get: func(v any) any { return engine.List{nil, &node{v.(*node).n + 1}} }},
			"Other.name":   text(func(any) string { return "other" }),
			"Other.weight": {Leaf: func(out []byte, _ any) []byte { return append(out, "1.5"...) }},
		},
	})
	require.NoError(t, err)
	return w
}

// run answers a query.
func (w *world) run(t testing.TB, query string, variables map[string]any) *engine.Response {
	t.Helper()
	b, err := w.bind(query, variables)
	require.NoError(t, err)
	return w.execute(t.Context(), b)
}

func (w *world) bind(query string, variables map[string]any) (*engine.Bound, error) {
	d, err := w.Prepare(query)
	if err != nil {
		return nil, err
	}
	op, err := d.Operation("")
	if err != nil {
		return nil, err
	}
	return op.Bind(variables)
}

func (w *world) execute(ctx context.Context, b *engine.Bound) *engine.Response {
	return b.Run(ctx, &engine.Request{
		Allow: func(policy string) error { return fmt.Errorf("%w: %s", errRefused, policy) },
		Explain: func(_ context.Context, err error) *engine.Error {
			if errors.Is(err, errRefused) {
				return &engine.Error{Message: err.Error(), Code: "FORBIDDEN"}
			}
			return &engine.Error{Message: "Something went wrong.", Code: engine.CodeInternal}
		},
	})
}
