package contracts_test

import (
	"encoding/json"
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/tests/contracts"
)

// object is a document, or a part of one.
type object map[string]any

// at is the object at a path of members, with | between them. A path that isn't there any more is a test to mend.
func (o object) at(path string) object {
	for _, name := range strings.Split(path, "|") {
		next, ok := o[name].(map[string]any)
		if !ok {
			panic("there is no " + name + " in " + path + " any more: mend the test")
		}
		o = next
	}
	return o
}

func without(list any, gone string) []any {
	var left []any
	for _, element := range list.([]any) {
		if element != gone {
			left = append(left, element)
		}
	}
	return left
}

type edit struct {
	name string
	edit func(doc object)
	says string // in what is reported; empty: it is no break
}

// edited is a document with one edit made.
func edited(t *testing.T, document []byte, e edit) []byte {
	t.Helper()
	var doc object
	require.NoError(t, json.Unmarshal(document, &doc))
	e.edit(doc)
	out, err := json.Marshal(doc)
	require.NoError(t, err)
	return out
}

const (
	orders     = "paths|/api/v1/orders"
	order      = "components|schemas|Order"
	draft      = "components|schemas|Draft"
	readOrders = orders + "|get"
	placeOrder = orders + "|post"
)

// TestEveryBreakOfTheDocumentIsSeen makes one edit at a time in the released document. Those that a client would notice
// must be reported, those that it would not must not.
func TestEveryBreakOfTheDocumentIsSeen(t *testing.T) {
	t.Parallel()
	whole, err := os.ReadFile("../../docs/released/openapi.json")
	require.NoError(t, err)
	document := edited(t, whole, edit{edit: func(doc object) { // to be quick about it
		maps.DeleteFunc(doc.at("paths"), func(path string, _ any) bool { return !strings.HasPrefix(path, "/api/v1/orders") })
	}})
	for _, e := range []edit{
		{"an operation is gone", func(doc object) { delete(doc.at(orders), "get") }, "api-removed-without-deprecation"},
		{"a path is gone", func(doc object) { delete(doc.at("paths"), "/api/v1/orders") }, "api-path-removed-without-deprecation"},
		{"an operation has another path", func(doc object) {
			paths := doc.at("paths")
			paths["/api/v1/purchases"] = paths["/api/v1/orders"]
			delete(paths, "/api/v1/orders")
		}, "api-path-removed-without-deprecation"},
		{"a member of an answer is gone", func(doc object) {
			delete(doc.at(order+"|properties"), "orderNumber")
			doc.at(order)["required"] = without(doc.at(order)["required"], "orderNumber")
		}, "response-required-property-removed"},
		{"a member of an answer has another name", func(doc object) {
			members := doc.at(order + "|properties")
			members["number"] = members["orderNumber"]
			delete(members, "orderNumber")
			doc.at(order)["required"] = append(without(doc.at(order)["required"], "orderNumber"), "number")
		}, "response-required-property-removed"},
		{"a member of an answer has another type", func(doc object) {
			doc.at(order + "|properties|orderNumber")["type"] = "integer"
		}, "response-property-type-changed"},
		{"a member of an answer may be missing", func(doc object) {
			doc.at(order)["required"] = without(doc.at(order)["required"], "orderNumber")
		}, "response-property-became-optional"},
		{"an answer says what it never said", func(doc object) {
			status := doc.at(order + "|properties|status")
			status["enum"] = append(status["enum"].([]any), "Lost")
		}, "response-property-enum-value-added"},
		{"a body must have a new member", func(doc object) {
			doc.at(draft + "|properties")["channel"] = map[string]any{"type": "string"}
			doc.at(draft)["required"] = append(doc.at(draft)["required"].([]any), "channel")
		}, "new-required-request-property"},
		{"a member of a body isn't taken any more", func(doc object) {
			delete(doc.at("components|schemas|DraftLine|properties"), "expectedUnitPrice")
		}, "request-property-removed"},
		{"a member of a body has another type", func(doc object) {
			doc.at("components|schemas|DraftLine|properties|quantity")["type"] = "string"
		}, "request-property-type-changed"},
		{"a number in a body has a lower bound", func(doc object) {
			doc.at("components|schemas|DraftLine|properties|quantity")["maximum"] = 2
		}, "request-property-max"},
		{"a text in a body has another pattern", func(doc object) {
			doc.at("components|schemas|Address|properties|country")["pattern"] = "^US$"
		}, "request-property-pattern-changed"},
		{"a parameter is gone", func(doc object) {
			doc.at(readOrders)["parameters"] = doc.at(readOrders)["parameters"].([]any)[1:]
		}, "request-parameter-removed"},
		{"a parameter must be sent", func(doc object) {
			doc.at(readOrders)["parameters"] = append(doc.at(readOrders)["parameters"].([]any),
				map[string]any{"name": "tenant", "in": "query", "required": true, "schema": map[string]any{"type": "string"}})
		}, "new-required-request-parameter"},
		{"a status of success is gone", func(doc object) {
			answers := doc.at(placeOrder + "|responses")
			answers["200"] = answers["201"]
			delete(answers, "201")
		}, "response-success-status-removed"},
		{"an answer has another media type", func(doc object) {
			content := doc.at(placeOrder + "|responses|201|content")
			content["application/xml"] = content["application/json"]
			delete(content, "application/json")
		}, "response-media-type-removed"},
		{"a header of an answer is gone", func(doc object) {
			delete(doc.at(placeOrder+"|responses|201|headers"), "Location")
		}, "optional-response-header-removed"},
		{"a member that an answer may lack is gone", func(doc object) {
			delete(doc.at(order+"|properties"), "cancelReason")
		}, "response-optional-property-removed"},
		{"a parameter that isn't sent means something else", func(doc object) {
			for _, parameter := range doc.at(readOrders)["parameters"].([]any) {
				if schema, ok := parameter.(map[string]any)["schema"].(map[string]any); ok && schema["default"] != nil {
					schema["default"] = 1
				}
			}
		}, "request-parameter-default-value-changed"},

		{"a new operation", func(doc object) {
			doc.at("paths")["/api/v1/things"] = map[string]any{"get": map[string]any{
				"operationId": "list-things", "responses": map[string]any{"204": map[string]any{"description": "none"}},
			}}
		}, ""},
		{"a new member of an answer", func(doc object) {
			doc.at(order + "|properties")["channel"] = map[string]any{"type": "string"}
		}, ""},
		{"a new member of a body that may be left out", func(doc object) {
			doc.at(draft + "|properties")["channel"] = map[string]any{"type": "string"}
		}, ""},
		{"a new parameter that may be left out", func(doc object) {
			doc.at(readOrders)["parameters"] = append(doc.at(readOrders)["parameters"].([]any),
				map[string]any{"name": "channel", "in": "query", "schema": map[string]any{"type": "string"}})
		}, ""},
		{"an operation is deprecated", func(doc object) { doc.at(readOrders)["deprecated"] = true }, ""},
		{"other words", func(doc object) { doc.at(readOrders)["description"] = "Lists." }, ""},
		{"an event is gone, which is for the other rule", func(doc object) { delete(doc, "webhooks") }, ""},
	} {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			breaks, err := contracts.RESTBreaks(document, edited(t, document, e))
			require.NoError(t, err)
			if e.says == "" {
				assert.Empty(t, breaks)
				return
			}
			assert.Contains(t, strings.Join(breaks, "\n"), e.says)
		})
	}
}

func TestADocumentThatCannotBeReadIsAnError(t *testing.T) {
	t.Parallel()
	_, err := contracts.RESTBreaks([]byte("{"), []byte("{}"))
	require.ErrorContains(t, err, "the released document")
	_, err = contracts.EventSchemas([]byte(`{"openapi": "3.1.0"}`))
	require.ErrorContains(t, err, "names no events")
	_, err = contracts.EventBreaks([]byte("{"), []byte("{}"))
	require.ErrorContains(t, err, "reading the schemas")
}
