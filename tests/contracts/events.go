package contracts

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// EventSchemas makes a JSON Schema of each type of event out of the OpenAPI document's webhooks, by the type's name. Each
// stands alone: what it refers to comes along. They are open, whatever the document says: a receiver takes members that it
// doesn't know, or none could ever be added.
func EventSchemas(document []byte) (map[string][]byte, error) {
	var doc struct {
		Webhooks map[string]struct {
			Post struct {
				Summary     string
				RequestBody struct {
					Content map[string]struct{ Schema map[string]any }
				}
			}
		}
		Components struct{ Schemas map[string]any }
	}
	if err := json.Unmarshal(document, &doc); err != nil {
		return nil, fmt.Errorf("reading the OpenAPI document: %w", err)
	}
	if len(doc.Webhooks) == 0 {
		return nil, errors.New("the OpenAPI document names no events (webhooks)")
	}
	out := map[string][]byte{}
	for kind, hook := range doc.Webhooks {
		schema := hook.Post.RequestBody.Content["application/json"].Schema
		if schema == nil {
			return nil, fmt.Errorf("%s has no schema", kind)
		}
		referred := map[string]any{}
		open := opened(schema, doc.Components.Schemas, referred).(map[string]any)
		open["$schema"], open["title"], open["$comment"] = "https://json-schema.org/draft/2020-12/schema", kind, hook.Post.Summary
		if len(referred) > 0 {
			open["$defs"] = referred
		}
		var text bytes.Buffer
		encoder := json.NewEncoder(&text)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(open); err != nil {
			return nil, fmt.Errorf("writing the schema of %s: %w", kind, err)
		}
		out[kind] = text.Bytes()
	}
	return out, nil
}

const inDocument, inSchema = "#/components/schemas/", "#/$defs/"

// opened copies a schema without its locks, and what it refers to into referred.
func opened(value any, components, referred map[string]any) any {
	switch v := value.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, member := range v {
			if name == "additionalProperties" && member == false {
				continue
			}
			if reference, ok := member.(string); ok && name == "$ref" {
				target := strings.TrimPrefix(reference, inDocument)
				if _, there := referred[target]; !there {
					referred[target] = nil // for one that refers to itself
					referred[target] = opened(components[target], components, referred)
				}
				member = inSchema + target
			}
			out[name] = opened(member, components, referred)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, element := range v {
			out[i] = opened(element, components, referred)
		}
		return out
	default:
		return v
	}
}

// EventBreaks lists what breaks between two schemas of one type of event, for who reads events that either describes: an
// event keeps its bytes for as long as it may be sent again, so an old one must fit a new schema, and who goes by the
// released schema must understand a new one. What remains is to add members that need not be there.
func EventBreaks(released, now []byte) ([]string, error) {
	c := comparison{}
	var before, after map[string]any
	if err := errors.Join(json.Unmarshal(released, &before), json.Unmarshal(now, &after)); err != nil {
		return nil, fmt.Errorf("reading the schemas: %w", err)
	}
	c.before, c.after = defs(before), defs(after)
	c.compare("event", before, after)
	slices.Sort(c.breaks)
	return c.breaks, nil
}

func defs(schema map[string]any) map[string]any {
	all, _ := schema["$defs"].(map[string]any)
	return all
}

// comparison walks two schemas side by side.
type comparison struct {
	before, after map[string]any // what they refer to
	seen          [][2]string    // pairs of references that are being compared
	breaks        []string
}

func (c *comparison) report(at, format string, args ...any) {
	c.breaks = append(c.breaks, at+" "+fmt.Sprintf(format, args...))
}

// Words about a schema, which no validator goes by.
var remarks = []string{"title", "description", "$comment", "examples", "example", "deprecated", "$schema", "$defs"}

func (c *comparison) compare(at string, before, after map[string]any) {
	from, fromRef := resolve(before, c.before)
	to, toRef := resolve(after, c.after)
	if fromRef != "" || toRef != "" {
		pair := [2]string{fromRef, toRef}
		if slices.Contains(c.seen, pair) {
			return
		}
		c.seen = append(c.seen, pair)
		defer func() { c.seen = c.seen[:len(c.seen)-1] }()
	}
	for _, keyword := range slices.Sorted(maps.Keys(union(from, to))) {
		was, is := from[keyword], to[keyword]
		switch {
		case slices.Contains(remarks, keyword):
		case keyword == "properties":
			c.properties(at, object(was), object(is))
		case keyword == "required":
			c.required(at, was, is)
		case keyword == "items" && was != nil && is != nil:
			c.compare(at+"[]", object(was), object(is))
		case keyword == "enum" || keyword == "type":
			if !reflect.DeepEqual(set(was), set(is)) {
				c.report(at, "has another %s: %v became %v", keyword, was, is)
			}
		case !reflect.DeepEqual(was, is):
			// A pattern, a length, a format: a narrower one refuses an old event, a wider one surprises a reader.
			c.report(at, "has another %s: %v became %v", keyword, was, is)
		}
	}
}

func (c *comparison) properties(at string, before, after map[string]any) {
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if _, there := after[name]; !there {
			c.report(at+"."+name, "is gone")
			continue
		}
		c.compare(at+"."+name, object(before[name]), object(after[name]))
	}
}

func (c *comparison) required(at string, before, after any) {
	was, is := set(before), set(after)
	for name := range union(was, is) {
		member := at + "." + strings.Trim(name, `"`)
		switch {
		case !was[name]:
			c.report(member, "must be there, and events that were stored before don't have it")
		case !is[name]:
			c.report(member, "may be missing, and readers count on it")
		}
	}
}

// resolve follows a schema's reference, if it is one.
func resolve(schema, targets map[string]any) (map[string]any, string) {
	reference, ok := schema["$ref"].(string)
	if !ok {
		return schema, ""
	}
	name := strings.TrimPrefix(reference, inSchema)
	return object(targets[name]), name
}

func object(value any) map[string]any {
	o, _ := value.(map[string]any)
	return o
}

func union[V any](a, b map[string]V) map[string]V {
	all := map[string]V{}
	maps.Copy(all, a)
	maps.Copy(all, b)
	return all
}

// set is a list, or a single value, without its order: each element as JSON writes it.
func set(value any) map[string]bool {
	out := map[string]bool{}
	list, ok := value.([]any)
	if !ok && value != nil {
		list = []any{value}
	}
	for _, element := range list {
		text, err := json.Marshal(element)
		if err != nil {
			panic(err) // it was read from JSON
		}
		out[string(text)] = true
	}
	return out
}
