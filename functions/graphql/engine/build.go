package engine

import (
	"fmt"

	"github.com/graphql-go/graphql"
	"github.com/graphql-go/graphql/language/ast"
)

// builder makes the library's types from a schema's text.
type builder struct {
	types      map[string]graphql.Type
	defs       map[string]ast.Node             // of all types, by name
	fields     map[string]*ast.FieldDefinition // by "Type.field"
	directives []*graphql.Directive
	err        error
}

var builtIn = map[string]graphql.Type{
	"Int": graphql.Int, "Float": graphql.Float, "String": graphql.String, "Boolean": graphql.Boolean, "ID": graphql.ID,
}

func (b *builder) build(doc *ast.Document) (graphql.Schema, error) {
	for _, node := range doc.Definitions {
		switch n := node.(type) {
		case *ast.ScalarDefinition:
			b.defs[n.Name.Value] = n
		case *ast.ObjectDefinition:
			b.defs[n.Name.Value] = n
			for _, f := range n.Fields {
				b.fields[n.Name.Value+"."+f.Name.Value] = f
			}
		case *ast.InterfaceDefinition:
			b.defs[n.Name.Value] = n
		case *ast.EnumDefinition:
			b.defs[n.Name.Value] = n
		case *ast.InputObjectDefinition:
			b.defs[n.Name.Value] = n
		case *ast.DirectiveDefinition:
		default:
			return graphql.Schema{}, fmt.Errorf("the schema has a %s, which nobody here knows", node.GetKind())
		}
	}
	b.directives = append(b.directives, graphql.SpecifiedDirectives...)
	for _, node := range doc.Definitions {
		if n, ok := node.(*ast.DirectiveDefinition); ok {
			locations := make([]string, len(n.Locations))
			for i, l := range n.Locations {
				locations[i] = l.Value
			}
			b.directives = append(b.directives, graphql.NewDirective(graphql.DirectiveConfig{
				Name: n.Name.Value, Description: text(n.Description), Locations: locations, Args: b.args(n.Arguments),
			}))
		}
	}
	config := graphql.SchemaConfig{Directives: b.directives}
	for name := range b.defs {
		config.Types = append(config.Types, b.named(name))
	}
	config.Query, _ = b.named("Query").(*graphql.Object)
	if b.defs["Mutation"] != nil {
		config.Mutation, _ = b.named("Mutation").(*graphql.Object)
	}
	schema, err := graphql.NewSchema(config)
	if b.err != nil {
		return schema, b.err
	}
	if err != nil {
		return schema, fmt.Errorf("building the schema: %w", err)
	}
	return schema, nil
}

// named is the type of a name; what it holds is looked up when the library asks, so that types may name each other.
func (b *builder) named(name string) graphql.Type {
	if t, ok := builtIn[name]; ok {
		return t
	}
	if t, ok := b.types[name]; ok {
		return t
	}
	switch n := b.defs[name].(type) {
	case *ast.ScalarDefinition:
		b.types[name] = graphql.NewScalar(graphql.ScalarConfig{
			Name: name, Description: text(n.Description), Serialize: same, ParseValue: same,
			ParseLiteral: func(v ast.Value) any {
				if s, ok := v.(*ast.StringValue); ok {
					return s.Value
				}
				return nil
			},
		})
	case *ast.ObjectDefinition:
		b.types[name] = graphql.NewObject(graphql.ObjectConfig{
			Name: name, Description: text(n.Description),
			Interfaces: graphql.InterfacesThunk(func() (list []*graphql.Interface) {
				for _, i := range n.Interfaces {
					t, ok := b.named(i.Name.Value).(*graphql.Interface)
					b.check(ok, name, i.Name.Value)
					list = append(list, t)
				}
				return list
			}),
			Fields:   graphql.FieldsThunk(func() graphql.Fields { return b.outputs(name, n.Fields) }),
			IsTypeOf: func(graphql.IsTypeOfParams) bool { return false }, // the library wants one; Options.TypeOf tells
		})
	case *ast.InterfaceDefinition:
		b.types[name] = graphql.NewInterface(graphql.InterfaceConfig{
			Name: name, Description: text(n.Description),
			Fields:      graphql.FieldsThunk(func() graphql.Fields { return b.outputs(name, n.Fields) }),
			ResolveType: func(graphql.ResolveTypeParams) *graphql.Object { return nil },
		})
	case *ast.EnumDefinition:
		values := graphql.EnumValueConfigMap{}
		for _, v := range n.Values {
			values[v.Name.Value] = &graphql.EnumValueConfig{Value: v.Name.Value, Description: text(v.Description)}
		}
		b.types[name] = graphql.NewEnum(graphql.EnumConfig{Name: name, Description: text(n.Description), Values: values})
	case *ast.InputObjectDefinition:
		b.types[name] = graphql.NewInputObject(graphql.InputObjectConfig{
			Name: name, Description: text(n.Description),
			Fields: graphql.InputObjectConfigFieldMapThunk(func() graphql.InputObjectConfigFieldMap {
				fields := graphql.InputObjectConfigFieldMap{}
				for _, f := range n.Fields {
					fields[f.Name.Value] = &graphql.InputObjectFieldConfig{Type: b.input(name, f.Type), Description: text(f.Description)}
				}
				return fields
			}),
		})
	default:
		b.check(false, "the schema", name)
		return graphql.String
	}
	return b.types[name]
}

func same(v any) any { return v }

func (b *builder) check(ok bool, where, name string) {
	if !ok && b.err == nil {
		b.err = fmt.Errorf("%s names %s, which is not of the kind that is wanted there", where, name)
	}
}

func (b *builder) outputs(owner string, list []*ast.FieldDefinition) graphql.Fields {
	fields := graphql.Fields{}
	for _, f := range list {
		t, ok := b.of(f.Type).(graphql.Output)
		b.check(ok, owner+"."+f.Name.Value, "a type")
		fields[f.Name.Value] = &graphql.Field{
			Name: f.Name.Value, Type: t, Args: b.args(f.Arguments), Description: text(f.Description), DeprecationReason: deprecation(f.Directives),
		}
	}
	return fields
}

func (b *builder) args(list []*ast.InputValueDefinition) graphql.FieldConfigArgument {
	args := graphql.FieldConfigArgument{}
	for _, a := range list {
		args[a.Name.Value] = &graphql.ArgumentConfig{Type: b.input(a.Name.Value, a.Type), Description: text(a.Description)}
	}
	return args
}

func (b *builder) input(where string, t ast.Type) graphql.Input {
	in, ok := b.of(t).(graphql.Input)
	b.check(ok, where, "a type")
	return in
}

func (b *builder) of(t ast.Type) graphql.Type {
	switch t := t.(type) {
	case *ast.NonNull:
		return graphql.NewNonNull(b.of(t.Type))
	case *ast.List:
		return graphql.NewList(b.of(t.Type))
	case *ast.Named:
		return b.named(t.Name.Value)
	default:
		return graphql.String
	}
}

func deprecation(list []*ast.Directive) string {
	for _, d := range list {
		if d.Name.Value != "deprecated" {
			continue
		}
		for _, a := range d.Arguments {
			if reason, ok := a.Value.GetValue().(string); ok {
				return reason
			}
		}
		return graphql.DefaultDeprecationReason
	}
	return ""
}

func text(s *ast.StringValue) string {
	if s == nil {
		return ""
	}
	return s.Value
}
