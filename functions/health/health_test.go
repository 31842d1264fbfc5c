package health_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/functions/health"
)

func ask(t *testing.T, h http.HandlerFunc) (int, map[string]any) {
	t.Helper()
	w := httptest.NewRecorder()
	h(w, httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/health/x", nil))
	var doc map[string]any
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &doc))
	assert.Equal(t, "application/health+json", w.Header().Get("Content-Type"))
	assert.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	return w.Code, doc
}

// HE-01, HE-03, HE-04.
func TestReadiness(t *testing.T) {
	t.Parallel()
	state, asked := health.Starting, 0
	p := health.New(func() health.State { return state }, func(*http.Request) bool { return true },
		health.Check{Name: "redis", Ask: func(context.Context) error { asked++; return errors.New("away") }},
		health.Check{Name: "postgresql", Ask: func(context.Context) error { return nil }},
		health.Check{Name: "broken", Ask: func(context.Context) error { panic("check") }})

	code, _ := ask(t, p.Ready)
	assert.Equal(t, 503, code)
	code, _ = ask(t, p.Startup)
	assert.Equal(t, 503, code)
	code, doc := ask(t, p.Live)
	assert.Equal(t, 200, code)
	assert.Equal(t, "pass", doc["status"])
	assert.Zero(t, asked, "liveness and startup ask nobody")

	state = health.Serving
	for range 50 {
		code, doc = ask(t, p.Ready)
		assert.Equal(t, 200, code, "a shared dependency's outage takes no instance away")
		assert.Equal(t, "warn", doc["status"])
	}
	assert.LessOrEqual(t, asked, 2, "fifty probes ask once a second")
	assert.Equal(t, map[string]any{
		"redis": []any{map[string]any{"status": "fail"}}, "postgresql": []any{map[string]any{"status": "pass"}},
		"broken": []any{map[string]any{"status": "fail"}},
	}, doc["checks"])

	state = health.Draining
	code, _ = ask(t, p.Ready)
	assert.Equal(t, 503, code)
	code, _ = ask(t, p.Startup)
	assert.Equal(t, 200, code)
}
