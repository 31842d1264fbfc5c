// Package jsgraphql looks at a GraphQL server with what is published for JavaScript: the official audits of GraphQL over
// HTTP, the reference implementation's idea of a schema, and a client that people use.
package jsgraphql

import (
	"embed"
	"testing"

	"github.com/company/order-catalog-service/tests/kit/npm"
)

//go:embed package.json package-lock.json audit.mjs schema.mjs walk.mjs
var files embed.FS

var project = npm.Project{Name: "jsgraphql", Files: files, Proves: "published clients and checks of GraphQL get along with the service"}

// Server is where to ask, and as whom.
type Server struct {
	URL   string `json:"url"`
	Token string `json:"token"`
}

// Audit is the outcome of one audit of package graphql-http.
type Audit struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Status string `json:"status"`
	Reason string `json:"reason"`
}

// Audits runs all audits against the server.
func Audits(t *testing.T, s Server) (list []Audit) {
	t.Helper()
	project.Run(t, "audit.mjs", s, &list)
	return list
}

// Schemas is what Check finds.
type Schemas struct {
	Served, Source string   // both printed in one order
	Breaking       []string // changes of Source since the released schema
	Relay          []string // what of Source is not as Relay wants it
}

// Check compares the schema that the server tells with its source, and that with the one that was released.
func Check(t *testing.T, s Server, source, released string) (found Schemas) {
	t.Helper()
	project.Run(t, "schema.mjs", map[string]any{"url": s.URL, "token": s.Token, "source": source, "released": released}, &found)
	return found
}

// Walk is what a client saw that walks all pages of products of a category.
type Walk struct {
	Forward, Backward []string // ids
	Persisted         int      // requests that went by hash alone
	Requests          int
	Failed            string // how it tells an error of a field
}

// Pages walks with urql, with automatic persisted queries.
func Pages(t *testing.T, s Server, category string) (w Walk) {
	t.Helper()
	project.Run(t, "walk.mjs", map[string]any{"url": s.URL, "token": s.Token, "category": category}, &w)
	return w
}
