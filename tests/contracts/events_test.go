package contracts_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/events"
	"github.com/company/order-catalog-service/tests/contracts"
)

// TestEachTypeOfEventHasAReleasedSchema: a type that an endpoint can subscribe to has its contract in the repository.
func TestEachTypeOfEventHasAReleasedSchema(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../docs/released/events/*.json")
	require.NoError(t, err)
	var kinds []string
	for _, file := range files {
		kinds = append(kinds, strings.TrimSuffix(filepath.Base(file), ".json"))
	}
	for _, kind := range events.Types {
		assert.True(t, slices.Contains(kinds, kind), "%s is new: `make release-contracts` writes its schema at the release", kind)
	}
}

// TestEveryBreakOfAnEventIsSeen makes one edit at a time in a released schema.
func TestEveryBreakOfAnEventIsSeen(t *testing.T) {
	t.Parallel()
	schema, err := os.ReadFile("../../docs/released/events/order.created.v1.json")
	require.NoError(t, err)
	const data, line, address = "$defs|Order", "$defs|Line", "$defs|Address"
	for _, e := range []edit{
		{"a member is gone", func(doc object) { delete(doc.at(data+"|properties"), "orderNumber") }, "event.data.orderNumber is gone"},
		{"a member that may be missing is gone", func(doc object) { delete(doc.at(address+"|properties"), "line2") }, "event.data.shippingAddress.line2 is gone"},
		{"an attribute of the envelope is gone", func(doc object) { delete(doc.at("properties"), "sequence") }, "event.sequence is gone"},
		{"a member has another name", func(doc object) {
			members := doc.at(data + "|properties")
			members["number"] = members["orderNumber"]
			delete(members, "orderNumber")
		}, "event.data.orderNumber is gone"},
		{"a member has another type", func(doc object) {
			doc.at(data + "|properties|totalAmount|properties|amount")["type"] = "number"
		}, "event.data.totalAmount.amount has another type"},
		{"a member becomes null at times", func(doc object) {
			doc.at(data + "|properties|customerId")["type"] = []any{"string", "null"}
		}, "event.data.customerId has another type"},
		{"a member is a list now", func(doc object) {
			members := doc.at(data + "|properties")
			members["shippingAddress"] = map[string]any{"type": "array", "items": members["shippingAddress"]}
		}, "event.data.shippingAddress has another type"},
		{"an element of a list has another type", func(doc object) {
			doc.at(line + "|properties|quantity")["type"] = "string"
		}, "event.data.lines[].quantity has another type"},
		{"a member must be there", func(doc object) {
			doc.at(address)["required"] = append(doc.at(address)["required"].([]any), "region")
		}, "event.data.shippingAddress.region must be there"},
		{"a new member must be there", func(doc object) {
			doc.at(data + "|properties")["channel"] = map[string]any{"type": "string"}
			doc.at(data)["required"] = append(doc.at(data)["required"].([]any), "channel")
		}, "event.data.channel must be there"},
		{"a member may be missing", func(doc object) {
			doc.at(data)["required"] = without(doc.at(data)["required"], "totalAmount")
		}, "event.data.totalAmount may be missing"},
		{"an enumeration is tighter", func(doc object) {
			status := doc.at(data + "|properties|status")
			status["enum"] = without(status["enum"], "Cancelled")
		}, "event.data.status has another enum"},
		{"an enumeration is wider", func(doc object) {
			status := doc.at(data + "|properties|status")
			status["enum"] = append(status["enum"].([]any), "Lost")
		}, "event.data.status has another enum"},
		{"a text became an enumeration", func(doc object) {
			doc.at(data + "|properties|customerId")["enum"] = []any{"ada"}
		}, "event.data.customerId has another enum"},
		{"a pattern is tighter", func(doc object) {
			doc.at(address + "|properties|country")["pattern"] = "^US$"
		}, "event.data.shippingAddress.country has another pattern"},
		{"a format is gone", func(doc object) { delete(doc.at(data+"|properties|createdAt"), "format") }, "event.data.createdAt has another format"},
		{"a text is shorter", func(doc object) {
			doc.at(address + "|properties|city")["maxLength"] = 10
		}, "event.data.shippingAddress.city has another maxLength"},
		{"unknown members are refused", func(doc object) {
			doc.at(data)["additionalProperties"] = false
		}, "event.data has another additionalProperties"},
		{"a word that this rule doesn't know", func(doc object) {
			doc.at(data)["minProperties"] = 20
		}, "event.data has another minProperties"},

		{"a new member that may be missing", func(doc object) {
			doc.at(data + "|properties")["channel"] = map[string]any{"type": "string", "enum": []any{"web", "shop"}}
		}, ""},
		{"a new member of a list's element", func(doc object) {
			doc.at(line + "|properties")["gift"] = map[string]any{"type": "boolean"}
		}, ""},
		{"a new attribute of the envelope", func(doc object) {
			doc.at("properties")["tracestate"] = map[string]any{"type": "string"}
		}, ""},
		{"other words, in another order", func(doc object) {
			doc.at(data)["description"] = "An order."
			doc.at(data + "|properties|orderNumber")["examples"] = []any{"other"}
			required := doc.at(data)["required"].([]any)
			slices.Reverse(required)
		}, ""},
		{"the same under another name", func(doc object) {
			all := doc.at("$defs")
			all["OrderLine"] = all["Line"]
			delete(all, "Line")
			doc.at(data + "|properties|lines|items")["$ref"] = "#/$defs/OrderLine"
		}, ""},
	} {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			breaks, err := contracts.EventBreaks(schema, edited(t, schema, e))
			require.NoError(t, err)
			if e.says == "" {
				assert.Empty(t, breaks)
				return
			}
			require.NotEmpty(t, breaks)
			assert.Contains(t, strings.Join(breaks, "\n"), e.says)
		})
	}
}

// TestAnEventMayHoldItself: a schema that refers to itself is compared to its end.
func TestAnEventMayHoldItself(t *testing.T) {
	t.Parallel()
	tree := func(kind string) []byte {
		return []byte(`{"$ref": "#/$defs/Node", "$defs": {"Node": {"type": "object", "properties": {
			"value": {"type": "` + kind + `"}, "children": {"type": "array", "items": {"$ref": "#/$defs/Node"}}}}}}`)
	}
	breaks, err := contracts.EventBreaks(tree("string"), tree("string"))
	require.NoError(t, err)
	assert.Empty(t, breaks)
	breaks, err = contracts.EventBreaks(tree("string"), tree("number"))
	require.NoError(t, err)
	assert.Len(t, breaks, 1)
}
