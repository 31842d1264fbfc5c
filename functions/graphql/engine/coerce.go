package engine

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/graphql-go/graphql"
	"github.com/graphql-go/graphql/language/ast"
)

// Args are a field's arguments: string, int, float64, bool, []any, map[string]any, or nil for null. One that was not
// given is not there.
type Args map[string]any

// Text is a string argument, "" when it was not given or is null.
func (a Args) Text(name string) string { s, _ := a[name].(string); return s }

// Int is an integer argument.
func (a Args) Int(name string) (n int, given bool) { n, given = a[name].(int); return n, given }

// Object is an input object.
func (a Args) Object(name string) Args { m, _ := a[name].(map[string]any); return m }

type variable struct {
	name     string
	t        graphql.Type
	fallback any // the default
	has      bool
	node     ast.Node
}

// variables reads an operation's variable definitions.
func (s *Schema) variables(op *ast.OperationDefinition) (list []variable, refusal *Refusal) {
	for _, def := range op.VariableDefinitions {
		v := variable{name: def.Variable.Name.Value, t: s.inputType(def.Type), node: def}
		if def.DefaultValue != nil {
			value, given, err := literal(v.t, def.DefaultValue, nil)
			if err != nil {
				return nil, refuse(Validating, CodeInvalid, fmt.Sprintf("The default of $%s %s.", v.name, err), def)
			}
			v.fallback, v.has = value, given
		}
		list = append(list, v)
	}
	return list, nil
}

// inputType is a type of the schema as a document names it; validation has seen that it is there.
func (s *Schema) inputType(t ast.Type) graphql.Type {
	switch t := t.(type) {
	case *ast.NonNull:
		return graphql.NewNonNull(s.inputType(t.Type))
	case *ast.List:
		return graphql.NewList(s.inputType(t.Type))
	case *ast.Named:
		return s.types.Type(t.Name.Value)
	default:
		return nil
	}
}

// values are an operation's variables from what the request gives, strictly: the library would take 1.5 for 1, and any
// number for a text. Unlike it this knows null from absent.
func (op *Operation) values(given map[string]any) (map[string]any, *Refusal) {
	if len(op.variables) == 0 {
		return nil, nil
	}
	out := make(map[string]any, len(op.variables))
	for _, v := range op.variables {
		value, there := given[v.name]
		switch _, nonNull := v.t.(*graphql.NonNull); {
		case !there && v.has:
			out[v.name] = v.fallback
			continue
		case !there && nonNull:
			return nil, refuse(Binding, CodeVariables, fmt.Sprintf("Variable $%s of required type %s was not provided.", v.name, v.t), v.node)
		case !there:
			continue
		}
		value, err := coerce(v.t, value)
		if err != nil {
			return nil, refuse(Binding, CodeVariables, fmt.Sprintf("Variable $%s %s.", v.name, err), v.node)
		}
		out[v.name] = value
	}
	return out, nil
}

// misfit says what is wrong with a value, and where in it.
type misfit struct{ at, text string }

// Error implements error.
func (m *misfit) Error() string {
	if m.at == "" {
		return m.text
	}
	return "at " + strings.TrimPrefix(m.at, ".") + " " + m.text
}

func below(err error, step string) error {
	if m, ok := err.(*misfit); ok { //nolint:errorlint // made here, never wrapped
		return &misfit{step + m.at, m.text}
	}
	return err
}

func wrong(format string, args ...any) error { return &misfit{text: fmt.Sprintf(format, args...)} }

// coerce makes a JSON value a value of the type.
func coerce(t graphql.Type, v any) (any, error) {
	if inner, ok := t.(*graphql.NonNull); ok {
		if v == nil {
			return nil, wrong("is null, and of the type %s", t)
		}
		return coerce(inner.OfType, v)
	}
	if v == nil {
		return nil, nil //nolint:nilnil // null is a value
	}
	switch t := t.(type) {
	case *graphql.List:
		list, ok := v.([]any)
		if !ok {
			list = []any{v} // one value stands for a list of it
		}
		out := make([]any, len(list))
		for i, item := range list {
			var err error
			if out[i], err = coerce(t.OfType, item); err != nil {
				return nil, below(err, "["+strconv.Itoa(i)+"]")
			}
		}
		return out, nil
	case *graphql.InputObject:
		members, ok := v.(map[string]any)
		if !ok {
			return nil, wrong("is not an object of the type %s", t)
		}
		fields := t.Fields()
		for name := range members {
			if fields[name] == nil {
				return nil, wrong("has %q, which %s does not", name, t)
			}
		}
		out := make(map[string]any, len(members))
		for name, field := range fields {
			value, there := members[name]
			if !there {
				if _, ok := field.Type.(*graphql.NonNull); ok {
					return nil, below(wrong("is missing, and of the type %s", field.Type), "."+name)
				}
				continue
			}
			var err error
			if out[name], err = coerce(field.Type, value); err != nil {
				return nil, below(err, "."+name)
			}
		}
		return out, nil
	case *graphql.Enum:
		name, _ := v.(string)
		return enumValue(t, name)
	default:
		return scalar(t, v)
	}
}

func enumValue(t *graphql.Enum, name string) (any, error) {
	for _, value := range t.Values() {
		if value.Name == name {
			return name, nil
		}
	}
	return nil, wrong("is not a value of %s", t)
}

// scalar makes a JSON value a scalar.
func scalar(t graphql.Type, v any) (any, error) {
	switch t.Name() {
	case "Int":
		if n, ok := v.(json.Number); ok {
			if i, err := strconv.ParseInt(n.String(), 10, 32); err == nil {
				return int(i), nil
			}
			f, err := n.Float64()
			if err == nil && f == math.Trunc(f) && math.Abs(f) <= math.MaxInt32 {
				return int(f), nil // 2.0 is the number 2
			}
		}
		return nil, wrong("is not a whole number of 32 bits")
	case "Float":
		if n, ok := v.(json.Number); ok {
			if f, err := n.Float64(); err == nil {
				return f, nil
			}
		}
		return nil, wrong("is not a number")
	case "Boolean":
		if b, ok := v.(bool); ok {
			return b, nil
		}
		return nil, wrong("is not true or false")
	case "ID":
		if n, ok := v.(json.Number); ok {
			if _, err := strconv.ParseInt(n.String(), 10, 64); err == nil {
				return n.String(), nil
			}
		}
	}
	s, ok := v.(string)
	if !ok {
		return nil, wrong("is not a text")
	}
	return plain(s)
}

// plain refuses text that a database can't hold.
func plain(s string) (any, error) {
	if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
		return nil, wrong("holds bytes that are not UTF-8 text, or the character U+0000")
	}
	return s, nil
}

// literal is the value of what stands in a document; given is false for a variable that has none.
func literal(t graphql.Type, node ast.Value, variables map[string]any) (value any, given bool, err error) {
	if v, ok := node.(*ast.Variable); ok {
		value, given = variables[v.Name.Value]
		if _, nonNull := t.(*graphql.NonNull); nonNull && value == nil {
			return nil, false, wrong("is null or not given, and of the type %s", t)
		}
		return value, given, nil
	}
	if inner, ok := t.(*graphql.NonNull); ok {
		return literal(inner.OfType, node, variables)
	}
	switch t := t.(type) {
	case *graphql.List:
		items := []ast.Value{node}
		if list, ok := node.(*ast.ListValue); ok {
			items = list.Values
		}
		out := make([]any, len(items))
		for i, item := range items {
			if out[i], _, err = literal(t.OfType, item, variables); err != nil {
				return nil, false, below(err, "["+strconv.Itoa(i)+"]")
			}
		}
		return out, true, nil
	case *graphql.InputObject:
		object, ok := node.(*ast.ObjectValue)
		if !ok {
			return nil, false, wrong("is not an object of the type %s", t)
		}
		fields, out := t.Fields(), make(map[string]any, len(object.Fields))
		for _, member := range object.Fields {
			field := fields[member.Name.Value]
			if field == nil {
				return nil, false, wrong("has %q, which %s does not", member.Name.Value, t)
			}
			v, there, err := literal(field.Type, member.Value, variables)
			if err != nil {
				return nil, false, below(err, "."+member.Name.Value)
			}
			if there {
				out[member.Name.Value] = v
			}
		}
		for name, field := range fields {
			if _, nonNull := field.Type.(*graphql.NonNull); nonNull && out[name] == nil {
				return nil, false, below(wrong("is missing, and of the type %s", field.Type), "."+name)
			}
		}
		return out, true, nil
	case *graphql.Enum:
		name, ok := node.(*ast.EnumValue)
		if !ok {
			return nil, false, wrong("is not a value of %s", t)
		}
		value, err = enumValue(t, name.Value)
		return value, true, err
	}
	value, err = scalarLiteral(t, node)
	return value, true, err
}

// scalarLiteral reads a literal as the JSON value that it looks like.
func scalarLiteral(t graphql.Type, node ast.Value) (any, error) {
	switch n := node.(type) {
	case *ast.StringValue:
		return scalar(t, n.Value)
	case *ast.BooleanValue:
		return scalar(t, n.Value)
	case *ast.IntValue:
		return scalar(t, json.Number(n.Value))
	case *ast.FloatValue:
		if t.Name() == "Float" {
			return scalar(t, json.Number(n.Value))
		}
	}
	return nil, wrong("is not of the type %s", t)
}
