package engine

import (
	"crypto/sha256"
	"fmt"
	"sync"

	"github.com/graphql-go/graphql"
	"github.com/graphql-go/graphql/language/ast"
	"github.com/graphql-go/graphql/language/parser"
	"github.com/graphql-go/graphql/language/source"
	"github.com/maypok86/otter/v2"
)

// Document is a document that may be executed. It is never changed, so any number of requests share it.
type Document struct {
	Digest     [sha256.Size]byte // of its text
	Text       string
	schema     *Schema
	fragments  map[string]*ast.FragmentDefinition
	operations []*Operation
}

// Operation is one of a document's operations.
type Operation struct {
	Name       string
	Kind       string // query or mutation
	doc        *Document
	node       *ast.OperationDefinition
	variables  []variable
	conditions []string // the variables that @skip and @include look at
	mu         sync.Mutex
	plans      map[uint64]*plan // by what these variables are
}

// documents are the valid ones, by digest. Refused ones are not kept: there is no end of them.
type documents struct {
	all *otter.Cache[[sha256.Size]byte, *Document]
}

func newDocuments() (documents, error) {
	all, err := otter.New(&otter.Options[[sha256.Size]byte, *Document]{
		MaximumWeight: 64 << 20,
		// A syntax tree was measured at some thirty times its text.
		Weigher:          func(_ [sha256.Size]byte, d *Document) uint32 { return uint32(1024 + 40*len(d.Text)) }, //nolint:gosec // bounded by Limits.Bytes
		ExpiryCalculator: otter.ExpiryAccessing[[sha256.Size]byte, *Document](cacheFor),
	})
	if err != nil {
		return documents{}, fmt.Errorf("making the cache of documents: %w", err)
	}
	return documents{all}, nil
}

// Known is a document that was prepared before, nil when it was not or was forgotten.
func (s *Schema) Known(digest [sha256.Size]byte) *Document {
	d, _ := s.docs.all.GetIfPresent(digest)
	return d
}

// KnownText is Known by the document's text.
func (s *Schema) KnownText(query string) *Document { return s.Known(sha256.Sum256([]byte(query))) }

// Prepare reads a document and checks it against the schema. The error is a *Refusal.
func (s *Schema) Prepare(query string) (*Document, error) {
	digest := sha256.Sum256([]byte(query))
	if d := s.Known(digest); d != nil {
		return d, nil
	}
	d, refusal := s.prepare(query, digest)
	if refusal != nil {
		return nil, refusal
	}
	s.docs.all.Set(digest, d)
	return d, nil
}

func (s *Schema) prepare(query string, digest [sha256.Size]byte) (d *Document, refusal *Refusal) {
	defer func() {
		if p := recover(); p != nil { // in the library: what it can't take is not a document
			d, refusal = nil, refuse(Validating, CodeInvalid, "The document cannot be checked.")
		}
	}()
	body, r := s.Limits.scan(query)
	if r != nil {
		return nil, r
	}
	// Without its source a node's place is only a number: the library would search the text from its start for each error.
	parsed, err := parser.Parse(parser.ParseParams{Source: &source.Source{Body: body, Name: "request"}, Options: parser.ParseOptions{NoSource: true}})
	if err != nil {
		return nil, unreadable(query, err)
	}
	if r := s.Limits.check(parsed); r != nil {
		return nil, r.in(query)
	}
	if result := graphql.ValidateDocument(&s.types, parsed, nil); !result.IsValid {
		return nil, invalid(query, result.Errors, s.Limits)
	}
	d = &Document{Digest: digest, Text: query, schema: s, fragments: map[string]*ast.FragmentDefinition{}}
	for _, node := range parsed.Definitions {
		switch n := node.(type) {
		case *ast.FragmentDefinition:
			d.fragments[n.Name.Value] = n
		case *ast.OperationDefinition:
			if n.Operation == "subscription" {
				return nil, refuse(Validating, CodeInvalid, "There are no subscriptions here; webhooks tell what happens.", n).in(query)
			}
			op := &Operation{Kind: n.Operation, doc: d, node: n, plans: map[uint64]*plan{}}
			if n.Name != nil {
				op.Name = n.Name.Value
			}
			if op.variables, refusal = s.variables(n); refusal != nil {
				return nil, refusal.in(query)
			}
			d.operations = append(d.operations, op)
		}
	}
	for _, op := range d.operations {
		op.conditions = d.conditions(op.node.SelectionSet, nil)
		if len(op.conditions) > maxConditions {
			return nil, tooMuch("variables of @skip and @include", maxConditions, op.node).in(query)
		}
	}
	return d, nil
}

const (
	maxConditions = 20
	maxPlans      = 16 // of one operation that are remembered
)

// conditions are the variables that decide which fields there are.
func (d *Document) conditions(set *ast.SelectionSet, found []string) []string {
	if set == nil {
		return found
	}
	add := func(list []*ast.Directive) {
		for _, directive := range list {
			if name, ok := conditionVariable(directive); ok && indexOf(found, name) < 0 {
				found = append(found, name)
			}
		}
	}
	for _, selection := range set.Selections {
		switch s := selection.(type) {
		case *ast.Field:
			add(s.Directives)
			found = d.conditions(s.SelectionSet, found)
		case *ast.InlineFragment:
			add(s.Directives)
			found = d.conditions(s.SelectionSet, found)
		case *ast.FragmentSpread:
			add(s.Directives)
			if f := d.fragments[s.Name.Value]; f != nil {
				found = d.conditions(f.SelectionSet, found)
			}
		}
	}
	return found
}

// conditionVariable is the variable of @skip(if: $v) or @include(if: $v).
func conditionVariable(d *ast.Directive) (string, bool) {
	if d.Name.Value != "skip" && d.Name.Value != "include" {
		return "", false
	}
	for _, a := range d.Arguments {
		if v, ok := a.Value.(*ast.Variable); ok && a.Name.Value == "if" {
			return v.Name.Value, true
		}
	}
	return "", false
}

func indexOf(list []string, name string) int {
	for i, s := range list {
		if s == name {
			return i
		}
	}
	return -1
}

// Operation is the one to execute: the one of that name, or with "" the only one. The error is a *Refusal.
func (d *Document) Operation(name string) (*Operation, error) {
	if name == "" {
		if len(d.operations) == 1 {
			return d.operations[0], nil
		}
		return nil, refuse(Binding, CodeOperation, fmt.Sprintf("The document has %d operations: name one in operationName.", len(d.operations)))
	}
	for _, op := range d.operations {
		if op.Name == name {
			return op, nil
		}
	}
	return nil, refuse(Binding, CodeOperation, fmt.Sprintf("The document has no operation named %q.", name))
}

// Key is the value of @idempotent at the operation, with its variables; "" without.
func (b *Bound) Key() (string, error) { return b.keyOf(b.op.node.Directives) }
