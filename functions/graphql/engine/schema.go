package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strconv"

	"github.com/graphql-go/graphql"
	"github.com/graphql-go/graphql/language/ast"
	"github.com/graphql-go/graphql/language/parser"
	"github.com/graphql-go/graphql/language/source"
)

// Field is how a field gets its value: exactly one of these.
type Field struct {
	// Leaf appends the JSON of a scalar, an enum or a list of them; null where there is none.
	Leaf func(out []byte, parent any) []byte
	// Get is an object, or a List of objects, that the parent holds; nil for null.
	Get func(parent any) any
	// Load finds the values of all parents at once. It must not wait: what waits is in what it returns.
	Load func(ctx context.Context, in Input) Pending
}

// Input is what a Load gets.
type Input struct {
	Parents []any
	Args    Args
	State   any    // of the run
	Field   string // the field's name in the answer
	// Key is the value of @idempotent at this field, else "".
	Key string
}

// Pending waits for the values of a Load, one for each parent.
type Pending func() []Result

// Result is the value of one parent's field: an object, a List of objects, or nil for null.
type Result struct {
	Value any
	Err   error
}

// List is the value of a field with a list type.
type List []any

// Resolvers are the fields by "Type.field".
type Resolvers map[string]Field

// Options say what a Schema stands on.
type Options struct {
	SDL       string
	Resolvers Resolvers
	// TypeOf names the object type of a value, for fields of an interface.
	TypeOf func(value any) string
	Limits Limits
}

// Schema is what documents are answered by.
type Schema struct {
	Options
	types   graphql.Schema
	objects map[string]*object
	// possible are the object types of each interface.
	possible map[string][]string
	docs     documents
}

// object is an object type.
type object struct {
	name   string
	fields map[string]*definition
}

// definition is a field of an object type.
type definition struct {
	Field
	name          string
	args          []*graphql.Argument
	leaf          bool
	list          bool
	nonNull       bool     // the field itself
	itemNonNull   bool     // the items of a list
	types         []string // the object types it can be of
	policy        string   // of @authorize
	weight        int      // of @cost
	assumed       int      // of @listSize
	slicing       []string // of @listSize
	maxAge        int      // of @cacheControl; -1 without
	introspective bool
}

// Build makes a schema from its text. Every field must have a resolver, and every resolver a field.
func Build(o Options) (*Schema, error) {
	doc, err := parser.Parse(parser.ParseParams{Source: source.NewSource(&source.Source{Body: []byte(o.SDL), Name: "schema.graphql"})})
	if err != nil {
		return nil, fmt.Errorf("reading the schema: %w", err)
	}
	b := &builder{types: map[string]graphql.Type{}, defs: map[string]ast.Node{}, fields: map[string]*ast.FieldDefinition{}}
	types, err := b.build(doc)
	if err != nil {
		return nil, err
	}
	s := &Schema{Options: o, types: types, objects: map[string]*object{}, possible: map[string][]string{}}
	if s.docs, err = newDocuments(); err != nil {
		return nil, err
	}
	unused := map[string]bool{}
	for name := range o.Resolvers {
		unused[name] = true
	}
	var wrong []error
	for name, t := range types.TypeMap() {
		if i, ok := t.(*graphql.Interface); ok {
			for _, object := range types.PossibleTypes(i) {
				s.possible[name] = append(s.possible[name], object.Name())
			}
			slices.Sort(s.possible[name])
		}
		object, ok := t.(*graphql.Object)
		if !ok {
			continue
		}
		if s.objects[name], err = s.object(b, object, unused); err != nil {
			wrong = append(wrong, err)
		}
	}
	for name := range unused {
		wrong = append(wrong, fmt.Errorf("%s has a resolver and is not in the schema", name))
	}
	if len(wrong) > 0 {
		return nil, errors.Join(wrong...)
	}
	query := s.objects[types.QueryType().Name()]
	for _, meta := range []*graphql.FieldDefinition{graphql.SchemaMetaFieldDef, graphql.TypeMetaFieldDef} {
		query.fields[meta.Name] = s.introspective(meta, true)
	}
	return s, nil
}

func (s *Schema) object(b *builder, t *graphql.Object, unused map[string]bool) (*object, error) {
	o := &object{name: t.Name(), fields: map[string]*definition{}}
	for name, field := range t.Fields() {
		full := t.Name() + "." + name
		node := b.fields[full]
		if node == nil {
			o.fields[name] = s.introspective(field, false) // a type that the library brings
			continue
		}
		d := s.define(field)
		r, ok := s.Resolvers[full]
		if !ok {
			return nil, fmt.Errorf("%s has no resolver", full)
		}
		delete(unused, full)
		d.Field = r
		if (r.Leaf != nil) != d.leaf {
			return nil, fmt.Errorf("%s: Leaf is for scalars, enums and lists of them, and only Leaf", full)
		}
		if len(d.args) > 0 && r.Load == nil {
			return nil, fmt.Errorf("%s takes arguments, so it must Load", full)
		}
		if err := d.direct(node.Directives); err != nil {
			return nil, fmt.Errorf("%s: %w", full, err)
		}
		o.fields[name] = d
	}
	return o, nil
}

// define reads a field's type.
func (s *Schema) define(field *graphql.FieldDefinition) *definition {
	d := &definition{name: field.Name, args: field.Args, maxAge: -1}
	sort.Slice(d.args, func(i, j int) bool { return d.args[i].PrivateName < d.args[j].PrivateName })
	t := graphql.Type(field.Type)
	if inner, ok := t.(*graphql.NonNull); ok {
		d.nonNull, t = true, inner.OfType
	}
	if inner, ok := t.(*graphql.List); ok {
		d.list, t = true, inner.OfType
		if inner, ok := t.(*graphql.NonNull); ok {
			d.itemNonNull, t = true, inner.OfType
		}
	}
	switch t := t.(type) {
	case *graphql.Object:
		d.types = []string{t.Name()}
	case *graphql.Interface:
		for _, possible := range s.types.PossibleTypes(t) {
			d.types = append(d.types, possible.Name())
		}
	default:
		d.leaf = true
	}
	return d
}

// direct reads a field's directives.
func (d *definition) direct(list []*ast.Directive) error {
	for _, directive := range list {
		for _, arg := range directive.Arguments {
			var err error
			switch directive.Name.Value + "." + arg.Name.Value {
			case "authorize.policy":
				d.policy = arg.Value.GetValue().(string)
			case "cost.weight":
				d.weight, err = strconv.Atoi(arg.Value.GetValue().(string))
			case "listSize.assumedSize":
				d.assumed, err = strconv.Atoi(arg.Value.GetValue().(string))
			case "listSize.slicingArguments":
				for _, name := range arg.Value.GetValue().([]ast.Value) {
					d.slicing = append(d.slicing, name.GetValue().(string))
				}
			case "cacheControl.maxAge":
				d.maxAge, err = strconv.Atoi(arg.Value.GetValue().(string))
			case "deprecated.reason":
			default:
				return fmt.Errorf("@%s(%s:) means nothing here", directive.Name.Value, arg.Name.Value)
			}
			if err != nil {
				return fmt.Errorf("@%s(%s:): %w", directive.Name.Value, arg.Name.Value, err)
			}
		}
	}
	return nil
}

// Policies are the names that @authorize gives, each once.
func (s *Schema) Policies() (names []string) {
	for _, o := range s.objects {
		for _, d := range o.fields {
			if d.policy != "" && !slices.Contains(names, d.policy) {
				names = append(names, d.policy)
			}
		}
	}
	slices.Sort(names)
	return names
}
