package graphql

import "net/http"

// IDE is the page for people.
type IDE struct {
	Enabled  bool
	TokenURL string
}

type idePage struct{}

func (idePage) serve(http.ResponseWriter, *http.Request) {}

func (g *GraphQL) registerIDE() error { return nil }

func (g *GraphQL) wantsIDE(r *http.Request) bool {
	return g.Enabled && r.Method == http.MethodGet && r.URL.RawQuery == ""
}

func (g *GraphQL) describe() {}
