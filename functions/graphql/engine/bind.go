package engine

import (
	"github.com/graphql-go/graphql"
	"github.com/graphql-go/graphql/language/ast"
)

// Bound is an operation with its variables: what Run executes.
type Bound struct {
	op        *Operation
	plan      *plan
	variables map[string]any
	args      []Args // of plan.withArgs
	// Cost is what the operation may come to, in points.
	Cost int
}

// Bind gives an operation its variables and says what it costs. The error is a *Refusal.
func (op *Operation) Bind(given map[string]any) (*Bound, error) {
	b, refusal := op.bind(given)
	if refusal != nil {
		return nil, refusal.in(op.doc.Text)
	}
	return b, nil
}

func (op *Operation) bind(given map[string]any) (*Bound, *Refusal) {
	variables, refusal := op.values(given)
	if refusal != nil {
		return nil, refusal
	}
	b := &Bound{op: op, variables: variables}
	if b.plan, refusal = op.planFor(variables); refusal != nil {
		return nil, refusal
	}
	b.args = make([]Args, len(b.plan.withArgs))
	for i, f := range b.plan.withArgs {
		if f.fixed {
			b.args[i] = f.args
			continue
		}
		args, err := f.arguments(variables)
		if err != nil {
			return nil, refuse(Binding, CodeVariables, sentence(err.Error()), f.nodes[0])
		}
		b.args[i] = args
	}
	b.Cost = b.cost(b.plan.root)
	if limit := op.doc.schema.Limits.Cost; b.Cost > limit {
		return nil, tooCostly(b.Cost, limit)
	}
	return b, nil
}

// Kind is query or mutation.
func (b *Bound) Kind() string { return b.op.Kind }

// Introspects tells whether the operation asks for the schema.
func (b *Bound) Introspects() bool { return b.plan.introspect }

// MaxAge is how many seconds the answer is good for, for all who may read it; -1 when it is the caller's own.
func (b *Bound) MaxAge() int { return b.plan.maxAge }

// Writes is how many of a mutation's own fields write something: __typename does not.
func (b *Bound) Writes() int { return len(b.plan.root.deep) }

// Keyed tells whether each of the operation's own fields has a key by @idempotent.
func (b *Bound) Keyed() bool {
	for _, f := range b.plan.root.deep {
		if key, err := b.keyOf(f.nodes[0].Directives); key == "" || err != nil {
			return false
		}
	}
	return true
}

// keyOf reads @idempotent.
func (b *Bound) keyOf(list []*ast.Directive) (string, error) {
	for _, d := range list {
		if d.Name.Value != "idempotent" {
			continue
		}
		for _, a := range d.Arguments {
			value, _, err := literal(graphql.NewNonNull(graphql.String), a.Value, b.variables)
			if err != nil {
				return "", err
			}
			key, _ := value.(string)
			return key, nil
		}
	}
	return "", nil
}
