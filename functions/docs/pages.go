package docs

import (
	"bytes"
	_ "embed" // for pages.html
	"encoding/json"
	"fmt"
	"html/template"

	"github.com/company/order-catalog-service/shared/rest"
)

//go:embed pages.html
var pages string

// page is what the templates see. Root leads from the page back to /docs/.
type page struct {
	Title, Root string
	Reference   bool
	Kinds       []rest.ProblemKind
	Kind        rest.ProblemKind
	Example     string
}

// render makes every page once; they depend on nothing in a request.
func render(kinds []rest.ProblemKind) (files map[string]file, missing []byte, err error) {
	tmpl, err := template.New("pages").Parse(pages)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the page templates: %w", err)
	}
	files = make(map[string]file)
	add := func(path, name string, p page) error {
		body, err := execute(tmpl, name, p)
		if err != nil {
			return err
		}
		files[path], err = newFile(html, body)
		return err
	}
	if err := add("/docs/", "reference", page{Title: "API reference", Root: "./", Reference: true}); err != nil {
		return nil, nil, err
	}
	if err := add("/docs/problems", "problems", page{Title: "Problems", Root: "./", Kinds: kinds}); err != nil {
		return nil, nil, err
	}
	for _, kind := range kinds {
		example, err := exampleOf(kind)
		if err != nil {
			return nil, nil, err
		}
		p := page{Title: kind.Title, Root: "../", Kind: kind, Example: example}
		if err := add("/docs/problems/"+kind.Slug, "problem", p); err != nil {
			return nil, nil, err
		}
	}
	missing, err = execute(tmpl, "missing", page{Title: "No such page", Root: "/docs/"})
	return files, missing, err
}

func execute(tmpl *template.Template, name string, p page) ([]byte, error) {
	var out bytes.Buffer
	if err := tmpl.ExecuteTemplate(&out, name, p); err != nil {
		return nil, fmt.Errorf("making the page %q: %w", name, err)
	}
	return out.Bytes(), nil
}

// example has the members of a problem document in the order that a reader wants them.
type example struct {
	Type          string            `json:"type"`
	Title         string            `json:"title"`
	Status        int               `json:"status"`
	Detail        string            `json:"detail"`
	Instance      string            `json:"instance"`
	CorrelationID string            `json:"correlationId"`
	Errors        []rest.FieldError `json:"errors,omitempty"`
	Products      []any             `json:"products,omitempty"`
	Successor     string            `json:"successor,omitempty"`
}

// exampleOf is a document as the service sends it for the kind: tests/e2e holds real answers against it.
func exampleOf(kind rest.ProblemKind) (string, error) {
	const (
		correlation = "0197c2f4-7a31-4c7e-9d0e-5b1f6a2c8d11"
		product     = "0197c2f0-11aa-7bb0-8c0d-3e4f5a6b7c8d"
		order       = "0197c2f4-8b42-7d8f-ae1f-6c2a7b3d9e22"
	)
	e := example{
		Type: "/docs/problems/" + kind.Slug, Title: kind.Title, Status: kind.Status, Detail: kind.Explain,
		Instance: "/api/v1/orders#" + correlation, CorrelationID: correlation,
	}
	type price struct {
		Amount   string `json:"amount"`
		Currency string `json:"currency"`
	}
	switch kind.Slug {
	case rest.SoldOut.Slug:
		e.Products = []any{struct {
			ProductID string `json:"productId"`
			Requested int    `json:"requested"`
			Available int    `json:"available"`
		}{product, 3, 1}}
	case rest.PriceChanged.Slug:
		e.Products = []any{struct {
			ProductID         string `json:"productId"`
			ExpectedUnitPrice price  `json:"expectedUnitPrice"`
			CurrentUnitPrice  price  `json:"currentUnitPrice"`
		}{product, price{"19.99", "USD"}, price{"21.99", "USD"}}}
	case rest.Validation.Slug:
		e.Errors = []rest.FieldError{{Pointer: "/lines/0/quantity", Detail: "expected number >= 1"}}
	case rest.TooLate.Slug:
		e.Instance = "/api/v1/orders/" + order + "/cancel#" + correlation
	case rest.NotFound.Slug:
		e.Instance = "/api/v1/orders/" + order + "#" + correlation
	case rest.VersionSunset.Slug:
		e.Successor = "/api/v2/"
	case rest.PreconditionFailed.Slug, rest.PreconditionRequired.Slug:
		e.Instance = "/api/v1/products/" + product + "#" + correlation
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false) // the template escapes
	enc.SetIndent("", "  ")
	if err := enc.Encode(e); err != nil {
		return "", fmt.Errorf("writing the example of %s: %w", kind.Slug, err)
	}
	return out.String(), nil
}
