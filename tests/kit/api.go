package kit

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/infra/local/issuer"
	"github.com/company/order-catalog-service/shared/auth"
	"github.com/company/order-catalog-service/shared/idempotency"
	"github.com/company/order-catalog-service/shared/paging"
	"github.com/company/order-catalog-service/shared/ratelimit"
	sharedredis "github.com/company/order-catalog-service/shared/redis"
	"github.com/company/order-catalog-service/shared/resilience"
	"github.com/company/order-catalog-service/shared/rest"
	"github.com/company/order-catalog-service/shared/secretbox"
)

// API is a service in this process: slices register themselves on REST.
type API struct {
	*Database
	REST    *rest.API
	Keys    *idempotency.Store
	Cursors *paging.Codec
	Box     *secretbox.Box // of the endpoints' secrets
	Answers *secretbox.Box // of stored answers
	Redis   *redis.Client
	Mini    *miniredis.Miniredis // the server behind Redis
	issuer  *issuer.Issuer
}

// NewAPI makes an API with a database of its own.
func NewAPI(t testing.TB) *API {
	t.Helper()
	return NewAPIOn(t, NewDatabase(t), nil)
}

// NewAPIOn makes another process's API on a database; sibling, when not nil, shares its Redis and token issuer.
func NewAPIOn(t testing.TB, d *Database, sibling *API) *API {
	t.Helper()
	return newAPI(t, d, sibling, nil)
}

// NewLimitedAPI makes an API with a database of its own whose callers have these quotas, as RATE_LIMIT_BROWSE and
// RATE_LIMIT_CHECKOUT say them.
func NewLimitedAPI(t testing.TB, browse, checkout string) *API {
	t.Helper()
	return newAPI(t, NewDatabase(t), nil, map[resilience.Class]string{resilience.Browse: browse, resilience.Checkout: checkout})
}

func newAPI(t testing.TB, d *Database, sibling *API, quotas map[resilience.Class]string) *API {
	t.Helper()
	a := &API{Database: &Database{OwnerURL: d.OwnerURL, AppURL: d.AppURL, Pools: d.Pools}, Cursors: paging.NewCodec([]byte("test"))}
	if sibling != nil {
		a.Pools, a.Mini, a.issuer = d.Open(t), sibling.Mini, sibling.issuer
	} else {
		a.Mini = miniredis.RunT(t)
		tokens, stop, err := issuer.Serve("127.0.0.1:0", issuer.Options{})
		require.NoError(t, err)
		t.Cleanup(stop)
		a.issuer = tokens
	}
	var err error
	a.Redis, err = sharedredis.Open("redis://" + a.Mini.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { _ = a.Redis.Close() })
	verifier, err := auth.NewVerifier(auth.Config{
		Issuers: []auth.Issuer{{URL: a.issuer.URL(), Audiences: []string{issuer.Audience}}}, Client: http.DefaultClient,
	})
	require.NoError(t, err)
	lane, err := sharedredis.NewLane(a.Redis)
	require.NoError(t, err)
	limits := map[resilience.Class]*ratelimit.Limit{}
	for class, text := range quotas {
		policies, err := ratelimit.Parse(class.String(), text)
		require.NoError(t, err)
		limits[class], err = ratelimit.New(ratelimit.Options{Class: class.String(), Policies: policies, Lane: lane, Leased: class != resilience.Checkout})
		require.NoError(t, err)
	}
	a.REST, err = rest.New(rest.Config{
		Title: "Test", Version: "1", Verifier: verifier, Logger: slog.New(slog.NewJSONHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Ready: func(context.Context) error { return nil }, Deadline: 15 * time.Second, Limits: limits,
	})
	require.NoError(t, err)
	a.Answers, err = secretbox.New("stored answers", []byte(BoxesOpenWith))
	require.NoError(t, err)
	a.Box, err = secretbox.New("webhook endpoints", []byte(BoxesOpenWith))
	require.NoError(t, err)
	a.Keys, err = idempotency.New(idempotency.Options{Pools: a.Pools, Lane: lane, Box: a.Answers, Timeout: 10 * time.Second})
	require.NoError(t, err)
	return a
}

// BoxesOpenWith is the secret of the boxes of all tests.
const BoxesOpenWith = "what opens the boxes of every test"

// testWriter puts log lines into the test's output.
type testWriter struct{ t testing.TB }

func (w testWriter) Write(line []byte) (int, error) {
	w.t.Log(string(bytes.TrimSpace(line)))
	return len(line), nil
}

// Everything is all scopes of a customer.
const Everything = "catalog:read order:read order:write order:cancel"

// Token is an access token.
func (a *API) Token(t testing.TB, sub, scope string, roles ...string) string {
	t.Helper()
	token, err := a.issuer.Token(sub, scope, roles...)
	require.NoError(t, err)
	return token
}

// Call is one request of a test; Token "" sends none, Key "" sends none.
type Call struct {
	Method, Path string
	Token, Key   string
	Body         any // a string is sent as it is, anything else as JSON
	Header       http.Header
}

// Reply is its answer.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte
}

// JSON decodes the answer's body.
func (r Reply) JSON(t testing.TB) map[string]any {
	t.Helper()
	var out map[string]any
	require.NoError(t, json.Unmarshal(r.Body, &out), "%s", r.Body)
	return out
}

// Do sends a request through the whole edge.
func (a *API) Do(t testing.TB, c Call) Reply {
	t.Helper()
	return a.DoContext(context.Background(), t, c)
}

// DoContext is Do for a client that may leave.
func (a *API) DoContext(ctx context.Context, t testing.TB, c Call) Reply {
	t.Helper()
	var body io.Reader
	switch b := c.Body.(type) {
	case nil:
	case string:
		body = bytes.NewReader([]byte(b))
	default:
		raw, err := json.Marshal(b)
		if !assert.NoError(t, err) { // and nothing that ends the goroutine: several may ask at once
			return Reply{}
		}
		body = bytes.NewReader(raw)
	}
	req := httptest.NewRequestWithContext(ctx, c.Method, c.Path, body)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	if c.Key != "" {
		req.Header.Set("Idempotency-Key", c.Key)
	}
	for name, values := range c.Header {
		req.Header[name] = values
	}
	w := httptest.NewRecorder()
	a.REST.Handler().ServeHTTP(w, req)
	return Reply{Status: w.Code, Header: w.Header(), Body: w.Body.Bytes()}
}

// Product puts a product with stock into the database.
func (d *Database) Product(t testing.TB, stock int) uuid.UUID {
	t.Helper()
	id := uuid.Must(uuid.NewV7())
	d.Exec(t, `INSERT INTO products (id, sku, name, category, price_minor, currency) VALUES ($1, $2, 'Thing', 'Things', 1999, 'USD')`, id, id.String())
	d.Exec(t, `INSERT INTO inventory (product_id, initial, available) VALUES ($1, $2, $2)`, id, stock)
	return id
}
