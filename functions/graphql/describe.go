package graphql

import (
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
)

// describe puts /graphql into the OpenAPI document, so that gateways and readers of it know that it is there. What can be
// asked is the schema's to say.
func (g *GraphQL) describe() {
	text := func(description string) *huma.Schema { return &huma.Schema{Type: "string", Description: description} }
	object := func(description string) *huma.Schema { return &huma.Schema{Type: "object", Description: description} }
	answer := &huma.Schema{Type: "object", Properties: map[string]*huma.Schema{
		"data": {Description: "Null when an error came up to the top; absent when nothing was executed"},
		"errors": {Type: "array", Items: &huma.Schema{Type: "object", Required: []string{"message"}, Properties: map[string]*huma.Schema{
			"message": text("What is wrong"), "locations": {Type: "array", Items: object("Line and column in the document")},
			"path": {Type: "array", Items: &huma.Schema{Description: "Name or position"}}, "extensions": object("code, and what belongs to it"),
		}}},
		"extensions": object("cost: what the operation may come to, what it came to, and what the caller has left, in points"),
	}}
	responses := func() map[string]*huma.Response {
		list := map[string]*huma.Response{}
		for status, description := range map[int]string{
			http.StatusOK: "The answer", statusPartial: "An answer with data and errors", http.StatusBadRequest: "No JSON, no GraphQL, or no Idempotency-Key for a mutation",
			http.StatusUnprocessableEntity: "The request does not fit the schema, or is too much", http.StatusNotFound: "The document is not known by this name",
			http.StatusForbidden: "The document is not trusted",
		} {
			list[strconv.Itoa(status)] = &huma.Response{Description: description, Content: map[string]*huma.MediaType{
				"application/graphql-response+json": {Schema: answer}, "application/json": {Schema: answer},
			}}
		}
		for status, description := range map[int]string{
			http.StatusUnauthorized: "No valid token", http.StatusNotAcceptable: "No form that there is is accepted", http.StatusTooManyRequests: "The quota is used up",
			http.StatusServiceUnavailable: "Too much to do",
		} {
			list[strconv.Itoa(status)] = &huma.Response{Description: description, Content: map[string]*huma.MediaType{"application/problem+json": {Schema: object("A problem")}}}
		}
		return list
	}
	parameter := func(name, description string) *huma.Param {
		return &huma.Param{Name: name, In: "query", Schema: text(""), Description: description}
	}
	g.API.Describe(&huma.Operation{
		OperationID: "graphql", Method: http.MethodPost, Path: "/graphql", Tags: []string{"GraphQL"}, Summary: "Run a GraphQL operation",
		Description: "The schema is at /docs/graphiql/schema.graphql where the page for people is on, and the answer to introspection where that is allowed. Mutations need an Idempotency-Key or @idempotent.",
		Responses:   responses(),
		Parameters: []*huma.Param{{
			Name: "Idempotency-Key", In: "header", Schema: text(""),
			Description: "Names the request's writes: each field of a mutation gets a key of its own made from it",
		}},
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{
			Type: "object", Properties: map[string]*huma.Schema{
				"query": text("The document"), "operationName": text("Which of its operations"), "variables": object("Their values"),
				"extensions": object("persistedQuery: {version: 1, sha256Hash}"), "documentId": text("A document of the manifest, instead of query"),
			},
		}}}},
	})
	g.API.Describe(&huma.Operation{
		OperationID: "graphql-query", Method: http.MethodGet, Path: "/graphql", Tags: []string{"GraphQL"}, Summary: "Run a GraphQL query",
		Description: "For queries that caches may keep: by documentId or a persisted query's hash. Browsers get a page to try queries on, where it is on.",
		Responses:   responses(),
		Parameters: []*huma.Param{
			parameter("query", "The document"), parameter("operationName", "Which of its operations"), parameter("variables", "Their values, as JSON"),
			parameter("extensions", "As JSON"), parameter("documentId", "A document of the manifest, instead of query"),
		},
	})
}
