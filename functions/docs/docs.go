// Package docs serves the API's documentation: an interactive reference at /docs/, one page for each kind of
// problem at /docs/problems/{slug}, and the OpenAPI document itself. Everything is in the binary, so that it
// works without the internet and tells nobody who reads it.
//
// Read docs.go for what is served, pages.go for how the pages are made, file.go for how bytes go out.
package docs

import (
	"embed"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/company/order-catalog-service/shared/rest"
)

// policy lets the page run our own files and nothing else: no script in the page, no request to elsewhere. The
// data: images are icons inside of Swagger UI's style sheet.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

//go:embed assets/*.gz assets/*.js assets/*.css assets/*.svg
var assets embed.FS

// Document makes the OpenAPI document. It is asked once, at the first request for it, when every slice has
// registered its operations.
type Document interface {
	OpenAPI() ([]byte, error)
	OpenAPIYAML() ([]byte, error)
}

// Register serves everything of this package on the API.
func Register(api *rest.API) error {
	h, err := Handler(api, rest.Kinds)
	if err != nil {
		return err
	}
	for _, pattern := range []string{"GET /docs", "GET /docs/{rest...}", "GET /openapi.json", "GET /openapi.yaml"} {
		api.Handle(pattern, h)
	}
	return nil
}

// Handler answers GET and HEAD below /docs and for /openapi.json and /openapi.yaml.
func Handler(doc Document, kinds []rest.ProblemKind) (http.Handler, error) {
	files, missing, err := render(kinds)
	if err != nil {
		return nil, err
	}
	if err := addAssets(files); err != nil {
		return nil, err
	}
	openapi := map[string]func() (file, error){
		"/openapi.json": once("application/json", doc.OpenAPI),
		"/openapi.yaml": once("application/yaml", doc.OpenAPIYAML),
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", policy)
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			h.Set("Allow", "GET, HEAD")
			http.Error(w, "Here only GET and HEAD are possible.", http.StatusMethodNotAllowed)
			return
		}
		if r.URL.Path == "/docs" {
			// Links in the pages are relative, so that they hold behind a gateway that adds a prefix.
			h.Set("Location", "docs/")
			w.WriteHeader(http.StatusPermanentRedirect)
			return
		}
		if document, ok := openapi[r.URL.Path]; ok {
			f, err := document()
			if err != nil {
				panic(err) // a mistake in the code of an operation; the edge logs it and answers 500
			}
			f.serve(w, r)
			return
		}
		f, ok := files[r.URL.Path]
		if !ok {
			h.Set("Content-Type", html)
			h.Set("Cache-Control", "no-store")
			w.WriteHeader(http.StatusNotFound)
			if r.Method != http.MethodHead {
				_, _ = w.Write(missing) // a client that left is nobody to tell
			}
			return
		}
		f.serve(w, r)
	}), nil
}

func once(contentType string, write func() ([]byte, error)) func() (file, error) {
	return sync.OnceValues(func() (file, error) {
		body, err := write()
		if err != nil {
			return file{}, fmt.Errorf("writing the OpenAPI document: %w", err)
		}
		return newFile(contentType, body)
	})
}

func addAssets(files map[string]file) error {
	entries, err := assets.ReadDir("assets")
	if err != nil {
		return fmt.Errorf("listing the bundled assets: %w", err)
	}
	types := map[string]string{".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
	for _, entry := range entries {
		raw, err := assets.ReadFile("assets/" + entry.Name())
		if err != nil {
			return fmt.Errorf("reading a bundled asset: %w", err)
		}
		name, packed := strings.CutSuffix(entry.Name(), ".gz")
		contentType := types[name[strings.LastIndexByte(name, '.'):]]
		var f file
		if packed {
			f = newPacked(contentType, raw)
		} else if f, err = newFile(contentType, raw); err != nil {
			return err
		}
		files["/docs/assets/"+name] = f
	}
	return nil
}
