package engine

import (
	"fmt"
	"slices"

	"github.com/graphql-go/graphql/language/ast"
)

// plan is an operation ready to be executed: nothing is looked up by name any more. It is never changed.
type plan struct {
	root       *selection
	withArgs   []*field
	introspect bool
	maxAge     int // seconds for which the answer is good for everybody who may read it; -1: it is the caller's own
}

// selection is what is asked of an object of one type, in the order of the answer.
type selection struct {
	object *object
	fields []*field
	deep   []*field // those that are objects
}

type field struct {
	*definition
	response string
	key      []byte                // `"response":`
	constant []byte                // of __typename
	sub      map[string]*selection // by object type
	only     *selection            // of sub, when there is but one type
	column   int                   // among deep; -1 for leaves
	nodes    []*ast.Field
	argument int // among withArgs; -1 without arguments
	args     Args
	fixed    bool // args hold for every request
}

// planner makes a plan for one state of the variables that decide which fields there are.
type planner struct {
	*Document
	bools map[string]any
	plan  *plan
}

// planFor is the operation's plan for these variables.
func (op *Operation) planFor(variables map[string]any) (*plan, *Refusal) {
	var state uint64
	for i, name := range op.conditions {
		if on, _ := variables[name].(bool); on {
			state |= 1 << i
		}
	}
	op.mu.Lock()
	known := op.plans[state]
	op.mu.Unlock()
	if known != nil {
		return known, nil
	}
	p := planner{Document: op.doc, bools: variables, plan: &plan{}}
	root := op.doc.schema.types.QueryType().Name()
	if op.Kind == "mutation" {
		root = op.doc.schema.types.MutationType().Name()
	}
	var refusal *Refusal
	p.plan.root, refusal = p.selection(op.doc.schema.objects[root], []*ast.SelectionSet{op.node.SelectionSet})
	if refusal != nil {
		return nil, refusal
	}
	p.plan.maxAge = -1
	for i, f := range p.plan.root.fields {
		p.plan.introspect = p.plan.introspect || f.introspective
		if i == 0 {
			p.plan.maxAge = f.maxAge
		}
		p.plan.maxAge = min(p.plan.maxAge, f.maxAge)
	}
	op.mu.Lock()
	defer op.mu.Unlock()
	if len(op.plans) < maxPlans {
		op.plans[state] = p.plan
	}
	return p.plan, nil
}

// selection plans what is asked of an object.
func (p *planner) selection(o *object, sets []*ast.SelectionSet) (*selection, *Refusal) {
	s := &selection{object: o}
	at, seen := map[string]*field{}, map[string]bool{}
	for _, set := range sets {
		p.collect(s, set, at, seen)
	}
	for _, f := range s.fields {
		if r := p.finish(s, f); r != nil {
			return nil, r
		}
	}
	return s, nil
}

// collect puts the fields of a selection that apply to the object in their order, those of one name together.
func (p *planner) collect(s *selection, set *ast.SelectionSet, at map[string]*field, seen map[string]bool) {
	for _, node := range set.Selections {
		switch n := node.(type) {
		case *ast.Field:
			if !p.included(n.Directives) {
				continue
			}
			name := responseName(n)
			if f := at[name]; f != nil {
				f.nodes = append(f.nodes, n)
				continue
			}
			f := &field{response: name, key: append(AppendText(nil, name), ':'), column: -1, argument: -1, nodes: []*ast.Field{n}}
			if n.Name.Value == "__typename" {
				f.definition, f.constant = &definition{name: "__typename", leaf: true, nonNull: true, maxAge: 1 << 30}, AppendText(nil, s.object.name)
			} else {
				f.definition = s.object.fields[n.Name.Value]
			}
			at[name] = f
			s.fields = append(s.fields, f)
		case *ast.InlineFragment:
			if p.included(n.Directives) && p.applies(n.TypeCondition, s.object) {
				p.collect(s, n.SelectionSet, at, seen)
			}
		case *ast.FragmentSpread:
			f := p.fragments[n.Name.Value]
			if f == nil || seen[n.Name.Value] || !p.included(n.Directives) || !p.applies(f.TypeCondition, s.object) {
				continue
			}
			seen[n.Name.Value] = true
			p.collect(s, f.SelectionSet, at, seen)
		}
	}
}

// applies tells whether a fragment on a type says something about an object.
func (p *planner) applies(condition *ast.Named, o *object) bool {
	if condition == nil || condition.Name.Value == o.name {
		return true
	}
	return slices.Contains(p.schema.implementers(condition.Name.Value), o.name)
}

// included decides @skip and @include.
func (p *planner) included(list []*ast.Directive) bool {
	for _, d := range list {
		if d.Name.Value != "skip" && d.Name.Value != "include" {
			continue
		}
		for _, a := range d.Arguments {
			if a.Name.Value != "if" {
				continue
			}
			on := false
			switch v := a.Value.(type) {
			case *ast.BooleanValue:
				on = v.Value
			case *ast.Variable:
				on, _ = p.bools[v.Name.Value].(bool)
			}
			if on == (d.Name.Value == "skip") {
				return false
			}
		}
	}
	return true
}

// finish plans what is below a field.
func (p *planner) finish(s *selection, f *field) *Refusal {
	if f.constant != nil {
		return nil
	}
	if f.definition == nil {
		return refuse(Validating, CodeInvalid, fmt.Sprintf("%s has no field %s.", s.object.name, f.nodes[0].Name.Value), f.nodes[0])
	}
	if len(f.definition.args) > 0 {
		f.argument = len(p.plan.withArgs)
		p.plan.withArgs = append(p.plan.withArgs, f)
		f.fixed = true
		for _, a := range f.nodes[0].Arguments {
			f.fixed = f.fixed && !variesWithin(a.Value)
		}
		if f.fixed {
			var err error
			if f.args, err = f.arguments(nil); err != nil {
				return refuse(Validating, CodeInvalid, err.Error(), f.nodes[0])
			}
		}
	}
	if f.leaf {
		return nil
	}
	f.column = len(s.deep)
	s.deep = append(s.deep, f)
	var sets []*ast.SelectionSet
	for _, n := range f.nodes {
		if n.SelectionSet != nil {
			sets = append(sets, n.SelectionSet)
		}
	}
	f.sub = make(map[string]*selection, len(f.types))
	for _, name := range f.types {
		sub, r := p.selection(p.schema.objects[name], sets)
		if r != nil {
			return r
		}
		f.sub[name] = sub
		if len(f.types) == 1 {
			f.only = sub
		}
	}
	return nil
}

// variesWithin tells whether a literal holds a variable.
func variesWithin(v ast.Value) bool {
	switch v := v.(type) {
	case *ast.Variable:
		return true
	case *ast.ListValue:
		return slices.ContainsFunc(v.Values, variesWithin)
	case *ast.ObjectValue:
		return slices.ContainsFunc(v.Fields, func(f *ast.ObjectField) bool { return variesWithin(f.Value) })
	}
	return false
}

// arguments are the field's arguments with these variables.
func (f *field) arguments(variables map[string]any) (Args, error) {
	out := make(Args, len(f.nodes[0].Arguments))
	for _, def := range f.definition.args {
		for _, a := range f.nodes[0].Arguments {
			if a.Name.Value != def.PrivateName {
				continue
			}
			value, given, err := literal(def.Type, a.Value, variables)
			if err != nil {
				return nil, fmt.Errorf("argument %s of %s %w", def.PrivateName, f.name, err)
			}
			if given {
				out[def.PrivateName] = value
			}
		}
	}
	return out, nil
}

// implementers are the object types of an interface.
func (s *Schema) implementers(name string) []string { return s.possible[name] }
