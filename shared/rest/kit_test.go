package rest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/infra/local/issuer"
	"github.com/company/order-catalog-service/shared/auth"
	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/shared/rest"
)

// edge is an API with one operation of each sort.
type edge struct {
	*rest.API
	issuer *issuer.Issuer
	log    *lines
}

// lines collects the log.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

type thing struct {
	Name  string `json:"name" minLength:"1" maxLength:"5"`
	Count int    `json:"count,omitempty" minimum:"1"`
	Parts []part `json:"parts,omitempty"`
}

type part struct {
	Count int `json:"count" minimum:"1"`
}

type putThing struct {
	ID   uuid.UUID `path:"id" format:"uuid"`
	Size int       `query:"size" minimum:"1" maximum:"9"`
	Body thing
}

const (
	things  = "/api/v1/things/0197c2f0-11aa-7bb0-8c0d-3e4f5a6b7c8d"
	cause   = "SQLSTATE 42P01 pq: relation secret_table at db.internal:5432"
	correct = `{"name":"ok"}`
)

func open(t testing.TB, change ...func(*rest.Config)) *edge {
	t.Helper()
	tokens, stop, err := issuer.Serve("127.0.0.1:0", issuer.Options{})
	require.NoError(t, err)
	t.Cleanup(stop)
	verifier, err := auth.NewVerifier(auth.Config{
		Issuers: []auth.Issuer{{URL: tokens.URL(), Audiences: []string{issuer.Audience}}}, Client: http.DefaultClient,
	})
	require.NoError(t, err)
	log := &lines{}
	config := rest.Config{
		Title: "Test", Version: "1", ProblemBase: "https://shop.example", Verifier: verifier, Logger: slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Ready: func(context.Context) error { return nil }, Deadline: time.Minute,
	}
	for _, f := range change {
		f(&config)
	}
	api, err := rest.New(config)
	require.NoError(t, err)
	echo := func(_ context.Context, in *putThing) (rest.Answer, error) { return rest.JSON(http.StatusOK, in.Body) }
	rest.Register(api, rest.Operation{ID: "put-thing", Method: http.MethodPut, Path: "/api/v1/things/{id}", Tag: "T", Status: 200, Response: thing{}}, echo)
	read := func(context.Context, *struct {
		ID string `path:"id"`
	},
	) (rest.Answer, error) {
		return rest.JSON(http.StatusOK, thing{Name: "ok"})
	}
	rest.Register(api, rest.Operation{ID: "read-thing", Method: http.MethodGet, Path: "/api/v1/things/{id}", Tag: "T", Status: 200, Response: thing{}, NotModified: true}, read)
	done := func(context.Context, *struct{}) (rest.Answer, error) {
		return rest.JSON(http.StatusOK, thing{Name: "done"})
	}
	rest.Register(api, rest.Operation{ID: "keyed", Method: http.MethodPost, Path: "/api/v1/keyed", Tag: "T", Status: 200, Keyed: true}, done)
	rest.Register(api, rest.Operation{ID: "secret", Method: http.MethodGet, Path: "/api/v1/secret", Tag: "T", Status: 200, Policy: &auth.CatalogRead}, done)
	rest.Register(api, rest.Operation{ID: "boss", Method: http.MethodPost, Path: "/api/v1/boss", Tag: "T", Status: 200, Policy: &auth.OrderConfirm, Keyed: true}, done)
	rest.Register(api, rest.Operation{ID: "operate", Method: http.MethodGet, Path: "/api/v1/operate", Tag: "T", Status: 200, Policy: &auth.Operate}, done)
	rest.Register(api, rest.Operation{ID: "any", Method: http.MethodGet, Path: "/api/v1/any", Tag: "T", Status: 200, Policy: &auth.AnyToken}, done)
	rest.Register(api, rest.Operation{ID: "fail", Method: http.MethodGet, Path: "/api/v1/fail/{how}", Tag: "T", Status: 200}, fail)
	api.Handle("GET /page/{how}", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("how") == "half" {
			_, _ = io.WriteString(w, "the first half")
		}
		panic(cause)
	}))
	return &edge{api, tokens, log}
}

type failInput struct {
	How string `path:"how"`
}

// fail fails in the way it is asked to.
func fail(ctx context.Context, in *failInput) (rest.Answer, error) {
	switch in.How {
	case "sql":
		return rest.Answer{}, errors.New(cause)
	case "boom":
		panic(cause)
	case "index":
		return rest.JSON(http.StatusOK, []byte{}[len(in.How)])
	case "abort":
		panic(http.ErrAbortHandler)
	case "away":
		return rest.Answer{}, errors.Join(postgres.ErrUnavailable, errors.New(cause))
	case "slow":
		<-ctx.Done()
		return rest.Answer{}, ctx.Err()
	case "sold-out":
		p := rest.NewProblem(rest.SoldOut, "Gone.")
		p.Extensions = map[string]any{"products": []int{1}}
		return rest.Answer{}, p
	case "unencodable":
		p := rest.NewProblem(rest.SoldOut, "Gone.")
		p.Extensions = map[string]any{"products": func() {}}
		return rest.Answer{}, p
	}
	return rest.Answer{}, rest.NewProblem(rest.NotFound, "There is no such failure.")
}

// ask sends one request; headers are names and values in turn.
func (e *edge) ask(t *testing.T, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	e.Handler().ServeHTTP(w, r)
	return w
}

// problem checks what every problem has (PD-01, PD-02, PD-03, PD-05) and returns it.
func problem(t *testing.T, w *httptest.ResponseRecorder, status int, slug string) map[string]any {
	t.Helper()
	require.Equal(t, status, w.Code, "%s", w.Body)
	assert.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
	assert.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	var doc map[string]any
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &doc), "%s", w.Body)
	assert.EqualValues(t, status, doc["status"])
	if slug == "" {
		assert.Equal(t, "about:blank", doc["type"])
		assert.Equal(t, http.StatusText(status), doc["title"])
	} else {
		assert.Equal(t, "https://shop.example/docs/problems/"+slug, doc["type"])
		for _, kind := range rest.Kinds {
			if kind.Slug == slug {
				assert.Equal(t, kind.Title, doc["title"], "one title for a kind")
			}
		}
	}
	assert.NotEmpty(t, doc["title"])
	assert.NotEmpty(t, doc["detail"])
	id := w.Header().Get("X-Correlation-ID")
	assert.Equal(t, id, doc["correlationId"])
	assert.True(t, strings.HasPrefix(doc["instance"].(string), "/"), "%s", doc["instance"])
	assert.True(t, strings.HasSuffix(doc["instance"].(string), "#"+id), "%s", doc["instance"])
	for member := range doc {
		assert.Regexp(t, `^[A-Za-z][A-Za-z0-9_]{2,}$`, member)
	}
	for _, inside := range []string{"SQLSTATE", "pq:", "secret_table", "db.internal", "goroutine", "runtime error", "panic", ".go:", "json:", "Go struct", "huma"} {
		assert.NotContains(t, w.Body.String(), inside)
	}
	return doc
}
