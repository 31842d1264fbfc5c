package rest_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/dunglas/httpsfv"
	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/auth"
	"github.com/company/order-catalog-service/shared/ratelimit"
	"github.com/company/order-catalog-service/shared/resilience"
	"github.com/company/order-catalog-service/shared/rest"
)

// metered is an edge whose callers may write three times and read five times an hour.
func metered(t *testing.T, change ...func(*rest.Config)) (e *edge, ask func(caller, method, path, body string, header ...string) *answered) {
	t.Helper()
	limit := func(class, text string, leased bool) *ratelimit.Limit {
		policies, err := ratelimit.Parse(class, text)
		require.NoError(t, err)
		l, err := ratelimit.New(ratelimit.Options{Class: class, Policies: policies, Leased: leased})
		require.NoError(t, err)
		return l
	}
	e = open(t, append(change, func(c *rest.Config) {
		c.Limits = map[resilience.Class]*ratelimit.Limit{
			resilience.Checkout: limit("checkout", "3/1h", false), resilience.Browse: limit("browse", "5/1h,1000/24h", true),
		}
	})...)
	write := func(ctx context.Context, in *struct{ Body thing }) (rest.Answer, error) {
		// What the idempotency layer does, without its database.
		if call := rest.From(ctx); !call.Async {
			if err := call.Keyed().Charge.Alone(ctx); err != nil {
				return rest.Answer{}, err
			}
		}
		return rest.JSON(http.StatusOK, in.Body)
	}
	read := func(context.Context, *struct{}) (rest.Answer, error) {
		return rest.JSON(http.StatusOK, thing{Name: "page"})
	}
	rest.Register(e.API, rest.Operation{ID: "write", Method: http.MethodPost, Path: "/api/v1/order", Tag: "Orders", Status: 200, Keyed: true, Policy: &auth.OrderWrite, Async: thing{}}, write)
	rest.Register(e.API, rest.Operation{ID: "page", Method: http.MethodGet, Path: "/api/v1/page", Tag: "Catalog", Status: 200, Policy: &auth.CatalogRead, NotModified: true}, read)
	rest.Register(e.API, rest.Operation{ID: "open-page", Method: http.MethodGet, Path: "/api/v1/open", Tag: "Catalog", Status: 200}, read)
	return e, func(caller, method, path, body string, header ...string) *answered {
		t.Helper()
		if caller != "" {
			token, err := e.issuer.Token(caller, "order:write catalog:read")
			require.NoError(t, err)
			header = append(header, "Authorization", "Bearer "+token)
		}
		w := e.ask(t, method, path, body, append(header, "Idempotency-Key", uuid.NewString())...)
		return &answered{w.Code, w.Header(), w.Body.Bytes()}
	}
}

type answered struct {
	status int
	header http.Header
	body   []byte
}

// standing is one item of RateLimit or RateLimit-Policy.
type standing map[string]int64

// list reads a structured field of the two (RL-01, RL-02).
func (a *answered) list(t *testing.T, field string) map[string]standing {
	t.Helper()
	items, err := httpsfv.UnmarshalList(a.header.Values(field))
	require.NoError(t, err, "%q", a.header.Values(field))
	out := map[string]standing{}
	for _, member := range items {
		item, ok := member.(httpsfv.Item)
		require.True(t, ok)
		params := standing{}
		for _, name := range item.Params.Names() {
			value, _ := item.Params.Get(name)
			params[name], ok = value.(int64)
			require.True(t, ok, "%s is %v", name, value)
		}
		out[item.Value.(string)] = params
	}
	return out
}

// exceeded checks a 429 (RL-03).
func (a *answered) exceeded(t *testing.T, policy string) {
	t.Helper()
	require.Equal(t, http.StatusTooManyRequests, a.status, "%s", a.body)
	assert.Equal(t, "application/problem+json", a.header.Get("Content-Type"))
	assert.Equal(t, "no-store", a.header.Get("Cache-Control"))
	var doc map[string]any
	require.NoError(t, json.Unmarshal(a.body, &doc))
	assert.Equal(t, "https://iana.org/assignments/http-problem-types#quota-exceeded", doc["type"])
	assert.Equal(t, rest.QuotaExceeded.Title, doc["title"])
	assert.EqualValues(t, 429, doc["status"])
	assert.Equal(t, []any{policy}, doc["violated-policies"])
	after, err := strconv.ParseInt(a.header.Get("Retry-After"), 10, 64)
	require.NoError(t, err)
	if s, known := a.list(t, "RateLimit")[policy]; assert.True(t, known, "%v", a.header) {
		assert.Zero(t, s["r"])
		assert.GreaterOrEqual(t, after, s["t"])
		assert.Positive(t, s["t"])
		assert.LessOrEqual(t, s["t"], int64(72*time.Minute/time.Second))
	}
}

func TestRL01To03WritesShowAndKeepTheirLimit(t *testing.T) {
	t.Parallel()
	_, ask := metered(t)
	for left := int64(2); left >= 0; left-- {
		a := ask("ada", http.MethodPost, "/api/v1/order", correct)
		require.Equal(t, http.StatusOK, a.status, "%s", a.body)
		assert.Equal(t, map[string]standing{"checkout": {"q": 3, "w": 3600}, "checkout-replays": {"q": 30, "w": 3600}}, a.list(t, "RateLimit-Policy"))
		assert.Equal(t, left, a.list(t, "RateLimit")["checkout"]["r"])
	}
	ask("ada", http.MethodPost, "/api/v1/order", correct).exceeded(t, "checkout")
	assert.Equal(t, http.StatusOK, ask("ada", http.MethodGet, "/api/v1/page", "").status, "reading is another class")
	assert.Equal(t, http.StatusOK, ask("eve", http.MethodPost, "/api/v1/order", correct).status, "and Eve another caller")
}

func TestRL09AnswersThatAreNotSentWholeSayWhatIsLeftToo(t *testing.T) {
	t.Parallel()
	_, ask := metered(t)
	a := ask("ada", http.MethodGet, "/api/v1/page", "")
	require.Equal(t, http.StatusOK, a.status)
	etag := a.header.Get("Etag")
	assert.EqualValues(t, 4, a.list(t, "RateLimit")["browse-3600s"]["r"])
	for left := int64(3); left >= 0; left-- {
		a = ask("ada", http.MethodGet, "/api/v1/page", "", "If-None-Match", etag)
		require.Equal(t, http.StatusNotModified, a.status)
		assert.Equal(t, left, a.list(t, "RateLimit")["browse-3600s"]["r"])
		assert.Equal(t, 995+left, a.list(t, "RateLimit")["browse-86400s"]["r"])
	}
	ask("ada", http.MethodGet, "/api/v1/page", "").exceeded(t, "browse-3600s")
	for range 10 {
		a = ask("", http.MethodGet, "/api/v1/open", "")
		require.Equal(t, http.StatusOK, a.status, "who is not known is nobody to count")
		assert.Empty(t, a.header.Values("RateLimit-Policy"))
	}
}

// RL-06: what is not let in for its token is not counted, and learns nothing of anybody's quota.
func TestRL06StrangersDoNotUseAQuota(t *testing.T) {
	t.Parallel()
	e, ask := metered(t)
	poor, err := e.issuer.Token("ada", "catalog:read")
	require.NoError(t, err)
	for range 10 {
		w := e.ask(t, http.MethodPost, "/api/v1/order", correct, "Authorization", "Bearer "+poor, "Idempotency-Key", uuid.NewString())
		require.Equal(t, http.StatusForbidden, w.Code)
		require.Empty(t, w.Header().Values("RateLimit"))
		require.Equal(t, http.StatusUnauthorized, e.ask(t, http.MethodPost, "/api/v1/order", correct, "Authorization", "Bearer x").Code)
	}
	assert.EqualValues(t, 2, ask("ada", http.MethodPost, "/api/v1/order", correct).list(t, "RateLimit")["checkout"]["r"])
}

// A write that ends before it is counted with its key is counted nevertheless.
func TestInvalidWritesAreNotFree(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`{"name":""}`, `{`} {
		_, ask := metered(t)
		for range 3 {
			a := ask("ada", http.MethodPost, "/api/v1/order", body)
			require.Contains(t, []int{http.StatusBadRequest, http.StatusUnprocessableEntity}, a.status)
		}
		ask("ada", http.MethodPost, "/api/v1/order", correct).exceeded(t, "checkout")
	}
}

// A write that is only queued never comes to a claim: it is counted at the edge.
func TestQueuedWritesAreCounted(t *testing.T) {
	t.Parallel()
	_, ask := metered(t)
	for left := int64(2); left >= 0; left-- {
		a := ask("ada", http.MethodPost, "/api/v1/order", correct, "Prefer", "respond-async")
		require.Equal(t, left, a.list(t, "RateLimit")["checkout"]["r"], "counted before it was answered")
	}
	ask("ada", http.MethodPost, "/api/v1/order", correct, "Prefer", "respond-async").exceeded(t, "checkout")
}

// An application's quota is that of all its users, and what their own limits refuse takes nothing of it.
func TestClientsShareAQuota(t *testing.T) {
	t.Parallel()
	policies, err := ratelimit.ParseClients("6/1h")
	require.NoError(t, err)
	clients, err := ratelimit.NewClients(policies, nil, 1)
	require.NoError(t, err)
	_, ask := metered(t, func(c *rest.Config) { c.Clients = clients })
	for range 3 {
		a := ask("ada", http.MethodPost, "/api/v1/order", correct)
		require.Equal(t, http.StatusOK, a.status, "%s", a.body)
		assert.NotContains(t, a.list(t, "RateLimit-Policy"), "client", "whoever is served learns nothing of the others")
	}
	for range 10 {
		ask("ada", http.MethodPost, "/api/v1/order", correct).exceeded(t, "checkout")
	}
	for range 3 {
		require.Equal(t, http.StatusOK, ask("eve", http.MethodGet, "/api/v1/page", "").status)
	}
	for _, who := range []string{"ada", "eve", "new"} {
		a := ask(who, http.MethodGet, "/api/v1/page", "")
		a.exceeded(t, "client")
		assert.Equal(t, standing{"q": 6, "w": 3600}, a.list(t, "RateLimit-Policy")["client"])
	}
	assert.Equal(t, http.StatusOK, ask("", http.MethodGet, "/api/v1/open", "").status)
}

// RL-08: what is refused only because Redis is away is not the caller's doing: 503, and no quota.
func TestRL08AClosedClassIs503(t *testing.T) {
	t.Parallel()
	e, _ := metered(t)
	rest.Register(e.API, rest.Operation{ID: "shut", Method: http.MethodGet, Path: "/api/v1/shut", Tag: "T", Status: 200},
		func(context.Context, *struct{}) (rest.Answer, error) { return rest.Answer{}, ratelimit.ErrAway })
	w := e.ask(t, http.MethodGet, "/api/v1/shut", "")
	problem(t, w, 503, "dependency-unavailable")
	assert.NotEmpty(t, w.Header().Get("Retry-After"))
	assert.Empty(t, w.Header().Get("RateLimit"))
}
