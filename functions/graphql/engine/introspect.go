package engine

import (
	"context"
	"encoding/json"
	"reflect"
	"slices"
	"strings"

	"github.com/graphql-go/graphql"
)

// introspective is a field that the library resolves: of the types that begin with two underscores.
func (s *Schema) introspective(field *graphql.FieldDefinition, root bool) *definition {
	d := s.define(field)
	d.introspective = root
	resolve := field.Resolve
	if resolve == nil {
		resolve = graphql.DefaultResolveFn
	}
	ask := func(parent any, args map[string]any) any {
		v, err := resolve(graphql.ResolveParams{
			Source: parent, Args: args, Info: graphql.ResolveInfo{FieldName: field.Name, Schema: s.types},
		})
		if err != nil {
			return nil
		}
		return v
	}
	if d.leaf {
		d.Leaf = func(out []byte, parent any) []byte {
			value := ask(parent, nil)
			if value == "" {
				value = nil // a description that nobody wrote
			}
			text, err := json.Marshal(value)
			if err != nil {
				text = []byte("null")
			}
			return append(out, text...)
		}
		return d
	}
	d.Load = func(_ context.Context, in Input) Pending {
		return func() []Result {
			out := make([]Result, len(in.Parents))
			for i, parent := range in.Parents {
				out[i].Value = listed(ask(parent, in.Args))
			}
			return out
		}
	}
	return d
}

// listed makes a List of a slice, in the order of names where they are types: the library keeps these in a map.
func listed(v any) any {
	r := reflect.ValueOf(v)
	switch {
	case !r.IsValid() || r.Kind() == reflect.Pointer && r.IsNil():
		return nil
	case r.Kind() != reflect.Slice:
		return v
	}
	list := make(List, r.Len())
	for i := range list {
		list[i] = r.Index(i).Interface()
	}
	slices.SortStableFunc(list, func(a, b any) int { return strings.Compare(nameOf(a), nameOf(b)) })
	return list
}

func nameOf(v any) string {
	if t, ok := v.(graphql.Type); ok {
		return t.Name()
	}
	return ""
}
