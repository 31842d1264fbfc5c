package ops

import (
	"embed"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"

	"github.com/company/order-catalog-service/shared/rest"
)

// pagePolicy lets the page run our own files and ask our own API, and nothing else.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

//go:embed page
var files embed.FS

// servePage serves the page below /ops/. The page itself is no secret: what it shows comes from the API, with the token of
// who looks.
func (o *Ops) servePage() error {
	pages, err := fs.Sub(files, "page")
	if err != nil {
		return fmt.Errorf("opening the operations page: %w", err)
	}
	serve := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("file")
		if name == "" {
			name = "index.html"
		}
		body, err := fs.ReadFile(pages, name)
		if err != nil {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte("There is no such page.")) // a client that left is nobody to tell
			return
		}
		h, etag := w.Header(), rest.ETag(body)
		h.Set("Content-Security-Policy", pagePolicy)
		h.Set("Cache-Control", "no-cache")
		h.Set("ETag", etag)
		if rest.MatchWeak(r.Header.Get("If-None-Match"), etag) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		h.Set("Content-Type", mime.TypeByExtension(path.Ext(name)))
		_, _ = w.Write(body) //nolint:gosec // one of the bundled files, chosen by its name; nothing of the request is in it
	})
	o.API.Handle("GET /ops", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "ops/") // relative: it holds behind a gateway that adds a prefix
		w.WriteHeader(http.StatusPermanentRedirect)
	}))
	o.API.Handle("GET /ops/{file...}", serve)
	return nil
}
