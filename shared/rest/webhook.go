package rest

import (
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/company/order-catalog-service/shared/signature"
)

// Event describes what endpoints are told of events of a type (OpenAPI 3.1, webhooks). data is a value of the
// type of the event's data.
func (a *API) Event(kind, summary string, data any) {
	registry := a.huma.OpenAPI().Components.Schemas
	text := func(doc string) *huma.Schema { return &huma.Schema{Type: "string", Description: doc} }
	constant := func(value string) *huma.Schema { return &huma.Schema{Type: "string", Enum: []any{value}} }
	envelope := &huma.Schema{
		Type: "object", Description: "A CloudEvent 1.0 in structured mode.",
		Required: []string{"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "partitionkey", "sequence", "data"},
		Properties: map[string]*huma.Schema{
			"specversion": constant("1.0"), "type": constant(kind), "datacontenttype": constant("application/json"),
			"id":           {Type: "string", Format: "uuid", Description: "The same on every repeat; also the header webhook-id"},
			"source":       text("The aggregate's address in the API"),
			"subject":      text("The aggregate's id"),
			"time":         {Type: "string", Format: "date-time"},
			"partitionkey": text("The aggregate's id: events of one key are published in order"),
			"sequence":     text("Numbers the aggregate's events; growing, gaps allowed. Whoever needs their order goes by it, as a retried event comes late"),
			"traceparent":  text("W3C trace context of the request that made it happen"),
			"data":         registry.Schema(reflect.TypeOf(data), true, ""),
		},
	}
	header := func(name, doc string) *huma.Param {
		return &huma.Param{Name: name, In: "header", Required: true, Description: doc, Schema: &huma.Schema{Type: "string"}}
	}
	doc := a.huma.OpenAPI()
	if doc.Webhooks == nil {
		doc.Webhooks = map[string]*huma.PathItem{}
	}
	doc.Webhooks[kind] = &huma.PathItem{Post: &huma.Operation{
		OperationID: "on-" + strings.ReplaceAll(kind, ".", "-"), Tags: []string{"Events"}, Summary: summary,
		Description: "Sent to each endpoint that subscribed to it, at least once, signed as Standard Webhooks says.",
		Parameters: []*huma.Param{
			header(signature.HeaderID, "The event's id, the same on every attempt"),
			header(signature.HeaderTimestamp, "When this attempt was made, in Unix seconds"),
			header(signature.HeaderSignature, "Signatures over `id.timestamp.body`, separated by spaces: v1 is HMAC-SHA256, v1a ed25519"),
		},
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": {Schema: envelope}}},
		Responses: map[string]*huma.Response{
			"2XX": {Description: "Taken. Any other answer is tried again, for about three days"},
			"410": {Description: "The endpoint is not wanted any more and is disabled"},
		},
	}}
}
