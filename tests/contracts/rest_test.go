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

// at is the object at a path of members, as /paths/~1orders has it in a JSON pointer, but with | between.
func at(t *testing.T, doc map[string]any, path string) map[string]any {
	t.Helper()
	for _, name := range strings.Split(path, "|") {
		next, ok := doc[name].(map[string]any)
		require.True(t, ok, "there is no %s in %s any more: mend the test", name, path)
		doc = next
	}
	return doc
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
	edit func(t *testing.T, doc map[string]any)
	says string // in what is reported; empty: it is no break
}

// edited is a document with one edit made.
func edited(t *testing.T, document []byte, e edit) []byte {
	t.Helper()
	var doc map[string]any
	require.NoError(t, json.Unmarshal(document, &doc))
	e.edit(t, doc)
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
	document := edited(t, whole, edit{edit: func(t *testing.T, doc map[string]any) { // to be quick about it
		maps.DeleteFunc(at(t, doc, "paths"), func(path string, _ any) bool { return !strings.HasPrefix(path, "/api/v1/orders") })
	}})
	for _, e := range []edit{
		{"an operation is gone", func(t *testing.T, doc map[string]any) { delete(at(t, doc, orders), "get") }, "api-removed-without-deprecation"},
		{"a path is gone", func(t *testing.T, doc map[string]any) { delete(at(t, doc, "paths"), "/api/v1/orders") }, "api-path-removed-without-deprecation"},
		{"an operation has another path", func(t *testing.T, doc map[string]any) {
			paths := at(t, doc, "paths")
			paths["/api/v1/purchases"] = paths["/api/v1/orders"]
			delete(paths, "/api/v1/orders")
		}, "api-path-removed-without-deprecation"},
		{"a member of an answer is gone", func(t *testing.T, doc map[string]any) {
			delete(at(t, doc, order+"|properties"), "orderNumber")
			at(t, doc, order)["required"] = without(at(t, doc, order)["required"], "orderNumber")
		}, "response-required-property-removed"},
		{"a member of an answer has another name", func(t *testing.T, doc map[string]any) {
			members := at(t, doc, order+"|properties")
			members["number"] = members["orderNumber"]
			delete(members, "orderNumber")
			at(t, doc, order)["required"] = append(without(at(t, doc, order)["required"], "orderNumber"), "number")
		}, "response-required-property-removed"},
		{"a member of an answer has another type", func(t *testing.T, doc map[string]any) {
			at(t, doc, order+"|properties|orderNumber")["type"] = "integer"
		}, "response-property-type-changed"},
		{"a member of an answer may be missing", func(t *testing.T, doc map[string]any) {
			at(t, doc, order)["required"] = without(at(t, doc, order)["required"], "orderNumber")
		}, "response-property-became-optional"},
		{"an answer says what it never said", func(t *testing.T, doc map[string]any) {
			status := at(t, doc, order+"|properties|status")
			status["enum"] = append(status["enum"].([]any), "Lost")
		}, "response-property-enum-value-added"},
		{"a body must have a new member", func(t *testing.T, doc map[string]any) {
			at(t, doc, draft+"|properties")["channel"] = map[string]any{"type": "string"}
			at(t, doc, draft)["required"] = append(at(t, doc, draft)["required"].([]any), "channel")
		}, "new-required-request-property"},
		{"a member of a body isn't taken any more", func(t *testing.T, doc map[string]any) {
			delete(at(t, doc, "components|schemas|DraftLine|properties"), "expectedUnitPrice")
		}, "request-property-removed"},
		{"a member of a body has another type", func(t *testing.T, doc map[string]any) {
			at(t, doc, "components|schemas|DraftLine|properties|quantity")["type"] = "string"
		}, "request-property-type-changed"},
		{"a number in a body has a lower bound", func(t *testing.T, doc map[string]any) {
			at(t, doc, "components|schemas|DraftLine|properties|quantity")["maximum"] = 2
		}, "request-property-max"},
		{"a text in a body has another pattern", func(t *testing.T, doc map[string]any) {
			at(t, doc, "components|schemas|Address|properties|country")["pattern"] = "^US$"
		}, "request-property-pattern-changed"},
		{"a parameter is gone", func(t *testing.T, doc map[string]any) {
			at(t, doc, readOrders)["parameters"] = at(t, doc, readOrders)["parameters"].([]any)[1:]
		}, "request-parameter-removed"},
		{"a parameter must be sent", func(t *testing.T, doc map[string]any) {
			at(t, doc, readOrders)["parameters"] = append(at(t, doc, readOrders)["parameters"].([]any),
				map[string]any{"name": "tenant", "in": "query", "required": true, "schema": map[string]any{"type": "string"}})
		}, "new-required-request-parameter"},
		{"a status of success is gone", func(t *testing.T, doc map[string]any) {
			answers := at(t, doc, placeOrder+"|responses")
			answers["200"] = answers["201"]
			delete(answers, "201")
		}, "response-success-status-removed"},
		{"an answer has another media type", func(t *testing.T, doc map[string]any) {
			content := at(t, doc, placeOrder+"|responses|201|content")
			content["application/xml"] = content["application/json"]
			delete(content, "application/json")
		}, "response-media-type-removed"},
		{"a header of an answer is gone", func(t *testing.T, doc map[string]any) {
			delete(at(t, doc, placeOrder+"|responses|201|headers"), "Location")
		}, "optional-response-header-removed"},
		{"a member that an answer may lack is gone", func(t *testing.T, doc map[string]any) {
			delete(at(t, doc, order+"|properties"), "cancelReason")
		}, "response-optional-property-removed"},
		{"a parameter that isn't sent means something else", func(t *testing.T, doc map[string]any) {
			for _, parameter := range at(t, doc, readOrders)["parameters"].([]any) {
				if schema, ok := parameter.(map[string]any)["schema"].(map[string]any); ok && schema["default"] != nil {
					schema["default"] = 1
				}
			}
		}, "request-parameter-default-value-changed"},

		{"a new operation", func(t *testing.T, doc map[string]any) {
			at(t, doc, "paths")["/api/v1/things"] = map[string]any{"get": map[string]any{
				"operationId": "list-things", "responses": map[string]any{"204": map[string]any{"description": "none"}},
			}}
		}, ""},
		{"a new member of an answer", func(t *testing.T, doc map[string]any) {
			at(t, doc, order+"|properties")["channel"] = map[string]any{"type": "string"}
		}, ""},
		{"a new member of a body that may be left out", func(t *testing.T, doc map[string]any) {
			at(t, doc, draft+"|properties")["channel"] = map[string]any{"type": "string"}
		}, ""},
		{"a new parameter that may be left out", func(t *testing.T, doc map[string]any) {
			at(t, doc, readOrders)["parameters"] = append(at(t, doc, readOrders)["parameters"].([]any),
				map[string]any{"name": "channel", "in": "query", "schema": map[string]any{"type": "string"}})
		}, ""},
		{"an operation is deprecated", func(t *testing.T, doc map[string]any) { at(t, doc, readOrders)["deprecated"] = true }, ""},
		{"other words", func(t *testing.T, doc map[string]any) { at(t, doc, readOrders)["description"] = "Lists." }, ""},
		{"an event is gone, which is for the other rule", func(_ *testing.T, doc map[string]any) { delete(doc, "webhooks") }, ""},
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
