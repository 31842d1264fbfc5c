package graphql

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"net/url"

	"github.com/company/order-catalog-service/functions/docs"
)

// IDE says who gets a page to try queries on.
type IDE struct {
	// Enabled shows it to browsers that open /graphql.
	Enabled bool
	// TokenURL is where the page gets a token for whoever opens it: only the local issuer gives one so. "" has people
	// bring their own.
	TokenURL string
}

//go:embed ide/graphiql.js.gz ide/graphiql.css.gz ide/ide.js ide/ide.css ide/ide.html
var ide embed.FS

// idePage is the page, with what it may load and call.
type idePage struct {
	page   http.Handler
	policy string
}

func (p idePage) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Security-Policy", p.policy)
	p.page.ServeHTTP(w, r)
}

// registerIDE makes the page. Its files are below /docs, where the host sends requests for pages.
func (g *GraphQL) registerIDE() error {
	if !g.Enabled {
		return nil
	}
	issuer := ""
	if g.TokenURL != "" {
		u, err := url.Parse(g.TokenURL)
		if err != nil {
			return fmt.Errorf("reading the page's token URL: %w", err)
		}
		issuer = " " + u.Scheme + "://" + u.Host
	}
	// The menus of GraphiQL write a style sheet into the page; scripts come from our files alone.
	g.page.policy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; " +
		"connect-src 'self'" + issuer + "; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	tmpl, err := template.ParseFS(ide, "ide/ide.html")
	if err != nil {
		return fmt.Errorf("reading the page's template: %w", err)
	}
	var html bytes.Buffer
	if err := tmpl.Execute(&html, g.IDE); err != nil {
		return fmt.Errorf("making the page: %w", err)
	}
	if g.page.page, err = docs.File(mediaHTML, html.Bytes()); err != nil {
		return err
	}
	for _, file := range []struct{ name, contentType string }{
		{"graphiql.js", "text/javascript; charset=utf-8"},
		{"graphiql.css", "text/css; charset=utf-8"},
		{"ide.js", "text/javascript; charset=utf-8"},
		{"ide.css", "text/css; charset=utf-8"},
	} {
		h, err := ideFile(file.name, file.contentType)
		if err != nil {
			return err
		}
		g.API.Handle("GET /docs/graphiql/"+file.name, h)
	}
	schema, err := docs.File("text/plain; charset=utf-8", []byte(SDL))
	if err != nil {
		return err
	}
	g.API.Handle("GET /docs/graphiql/schema.graphql", schema)
	return nil
}

// ideFile is one of the page's files: large ones are kept compressed.
func ideFile(name, contentType string) (http.Handler, error) {
	if packed, err := ide.ReadFile("ide/" + name + ".gz"); err == nil {
		return docs.Packed(contentType, packed), nil
	}
	plain, err := ide.ReadFile("ide/" + name)
	if err != nil {
		return nil, fmt.Errorf("reading a file of the page: %w", err)
	}
	return docs.File(contentType, plain)
}

// wantsIDE tells whether a request may be a browser's that opens the page.
func (g *GraphQL) wantsIDE(r *http.Request) bool {
	return g.Enabled && (r.Method == http.MethodGet || r.Method == http.MethodHead) && r.URL.RawQuery == ""
}
