package graphql

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/company/order-catalog-service/shared/jsonread"
	"github.com/company/order-catalog-service/shared/rest"
)

// maxBody is the largest body in bytes: a document as large as may be, and variables of an order with a hundred lines.
const maxBody = 64 << 10

// request is a GraphQL request in either of its forms.
type request struct {
	query      string
	operation  string
	documentID string
	hash       string // of extensions.persistedQuery
	variables  map[string]any
	get        bool
}

// malformed is a request that is not one of GraphQL over HTTP: unread when it is no JSON, else of the wrong shape.
type malformed struct {
	unread bool
	text   string
}

// Error implements error.
func (m *malformed) Error() string { return m.text }

func misshapen(format string, args ...any) *malformed {
	return &malformed{text: fmt.Sprintf(format, args...)}
}

// readRequest reads the URL of a GET or the body of a POST. The error is a *malformed or a *rest.Problem.
func readRequest(api *rest.API, w http.ResponseWriter, r *http.Request) (*request, error) {
	if r.Method != http.MethodPost {
		return fromQuery(r.URL.RawQuery)
	}
	// JSON alone: a form can be sent from any page without asking, with whatever the browser adds to it.
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	charset := params["charset"]
	if err != nil || media != "application/json" || (charset != "" && !strings.EqualFold(charset, "utf-8")) {
		return nil, rest.NewProblem(rest.UnsupportedMediaType, "GraphQL requests are application/json in UTF-8.")
	}
	if r.Header.Get("Content-Encoding") != "" {
		return nil, rest.NewProblem(rest.UnsupportedMediaType, "Bodies are sent uncompressed, without Content-Encoding.")
	}
	raw, err := api.ReadBody(w, r, maxBody)
	if err != nil {
		return nil, err
	}
	return fromBody(raw)
}

func fromBody(raw []byte) (*request, error) {
	if !json.Valid(raw) {
		return nil, &malformed{unread: true, text: "The body is not JSON."}
	}
	switch first := bytes.TrimLeft(raw, " \t\r\n"); first[0] {
	case '{':
	case '[':
		return nil, misshapen("The body is an array: batches are not served, send one request each.")
	default:
		return nil, misshapen("The body is not a JSON object.")
	}
	q := &request{}
	read := jsonread.New(raw)
	var wrong error
	note := func(err error) {
		if wrong == nil {
			wrong = err
		}
	}
	text := func(name string, into *string) {
		if value := read.Raw(); value[0] == '"' {
			*into = jsonread.New(value).String()
		} else if !isNull(value) {
			note(misshapen("%s is not a text.", name))
		}
	}
	asked := false
	read.Object(func(name string) {
		switch name {
		case "query":
			text(name, &q.query)
			asked = true
		case "operationName":
			text(name, &q.operation)
		case "documentId":
			text(name, &q.documentID)
		case "variables":
			note(q.setVariables(read.Raw()))
		case "extensions":
			note(q.setExtensions(read.Raw()))
		default:
			read.Skip()
		}
	})
	if read.Err() != nil {
		return nil, misshapen("The body cannot be read.")
	}
	if wrong != nil {
		return nil, wrong
	}
	return q, q.whole(asked)
}

func fromQuery(raw string) (*request, error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, misshapen("The query is not in the form of a URL's.")
	}
	for name, list := range values {
		if len(list) > 1 {
			return nil, misshapen("%.40q is there %d times.", name, len(list))
		}
	}
	q := &request{query: values.Get("query"), operation: values.Get("operationName"), documentID: values.Get("documentId"), get: true}
	for name, set := range map[string]func([]byte) error{"variables": q.setVariables, "extensions": q.setExtensions} {
		text := []byte(strings.TrimSpace(values.Get(name)))
		if len(text) == 0 {
			continue
		}
		if !json.Valid(text) {
			return nil, &malformed{unread: true, text: name + " is not JSON."}
		}
		if err := set(text); err != nil {
			return nil, err
		}
	}
	return q, q.whole(values.Has("query"))
}

// whole tells whether there is something to execute.
func (q *request) whole(asked bool) error {
	switch {
	case q.query == "" && q.documentID == "" && q.hash == "" && asked:
		return misshapen("query is empty.")
	case q.query == "" && q.documentID == "" && q.hash == "":
		return misshapen("There is no query, and no documentId.")
	case q.documentID != "" && q.query != "":
		return misshapen("Send either query or documentId, not both.")
	}
	return nil
}

func isNull(raw []byte) bool { return string(raw) == "null" }

// setVariables reads variables, with each number as it was written.
func (q *request) setVariables(raw []byte) error {
	if isNull(raw) || string(raw) == "{}" {
		return nil
	}
	if raw[0] != '{' {
		return misshapen("variables is not an object.")
	}
	numbers := json.NewDecoder(bytes.NewReader(raw))
	numbers.UseNumber()
	if err := numbers.Decode(&q.variables); err != nil {
		return misshapen("variables cannot be read.")
	}
	return nil
}

func (q *request) setExtensions(raw []byte) error {
	if isNull(raw) {
		return nil
	}
	if raw[0] != '{' {
		return misshapen("extensions is not an object.")
	}
	var e struct {
		PersistedQuery *struct {
			Version json.Number `json:"version"`
			Hash    string      `json:"sha256Hash"`
		} `json:"persistedQuery"`
	}
	if err := json.Unmarshal(raw, &e); err != nil {
		return misshapen(`extensions.persistedQuery is not {"version": 1, "sha256Hash": "..."}.`)
	}
	if e.PersistedQuery != nil {
		if e.PersistedQuery.Version != "1" || !isDigest(e.PersistedQuery.Hash) {
			return misshapen("extensions.persistedQuery needs version 1 and sha256Hash, 64 hexadecimal digits.")
		}
		q.hash = strings.ToLower(e.PersistedQuery.Hash)
	}
	return nil
}
