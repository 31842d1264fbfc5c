package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"
	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/infra/local/host"
	"github.com/company/order-catalog-service/tests/kit"
)

// contract holds answers against the document that the service publishes about itself.
type contract struct {
	*service
	router routers.Router
}

// decodeHealth teaches the validator the probes' media type, which it keeps in a variable of its package.
var decodeHealth = sync.OnceFunc(func() {
	openapi3filter.RegisterBodyDecoder("application/health+json", openapi3filter.JSONBodyDecoder)
})

func readContract(t *testing.T, s *service) contract {
	t.Helper()
	decodeHealth()
	got, err := s.send(t.Context(), call{method: http.MethodGet, path: "/openapi.json"})
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, got.status, "%s", got.body)
	doc, err := openapi3.NewLoader().LoadFromData(got.body)
	require.NoError(t, err)
	doc.Servers = nil // wherever it runs
	router, err := legacy.NewRouter(doc)
	require.NoError(t, err, "the document is valid")
	return contract{s, router}
}

// do sends a call and checks the answer, status included, against its operation.
func (c contract) do(t *testing.T, want int, ask call) reply {
	t.Helper()
	req, err := c.request(t.Context(), ask)
	require.NoError(t, err)
	got, err := answer(req)
	require.NoError(t, err)
	require.Equal(t, want, got.status, "%s %s: %s", ask.method, ask.path, got.body)
	// The router knows paths, not the host's address.
	route, params, err := c.router.FindRoute(&http.Request{Method: ask.method, URL: &url.URL{Path: req.URL.Path}})
	require.NoError(t, err, "%s %s is documented", ask.method, ask.path)
	require.NoError(t, openapi3filter.ValidateResponse(t.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route},
		Status:                 got.status, Header: got.header, Body: io.NopCloser(bytes.NewReader(got.body)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true},
	}), "%s %s: %s", ask.method, ask.path, got.body)
	if got.status >= http.StatusBadRequest {
		c.likeItsPage(t, got.body)
	}
	return got
}

var example = regexp.MustCompile(`(?s)<code>(\{.*?\})\s*</code>`)

// likeItsPage holds a problem against the example on the page that its type leads to.
func (c contract) likeItsPage(t *testing.T, problem []byte) {
	t.Helper()
	var sent, shown map[string]any
	require.NoError(t, json.Unmarshal(problem, &sent), "%s", problem)
	if strings.HasPrefix(sent["type"].(string), "https://iana.org/") {
		return // a registered type, which has no page here
	}
	page, err := c.send(t.Context(), call{method: http.MethodGet, path: sent["type"].(string)})
	require.NoError(t, err)
	found := example.FindSubmatch(page.body)
	require.NotNil(t, found, "%v has a page with an example: %d", sent["type"], page.status)
	require.NoError(t, json.Unmarshal([]byte(html.UnescapeString(string(found[1]))), &shown), "%s", found[1])
	assert.Equal(t, shape(shown), shape(sent), "%v", sent["type"])
	for _, same := range []string{"type", "title", "status"} {
		assert.Equal(t, shown[same], sent[same])
	}
}

// shape is a JSON value without what it says: members and types stay, of an array the first element.
func shape(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, value := range v {
			out[name] = shape(value)
		}
		return out
	case []any:
		return []any{shape(v[0])}
	default:
		return fmt.Sprintf("%T", v)
	}
}

func member(t *testing.T, r reply, name string) string {
	t.Helper()
	var all map[string]any
	require.NoError(t, json.Unmarshal(r.body, &all), "%s", r.body)
	text, ok := all[name].(string)
	require.True(t, ok, "%s in %s", name, r.body)
	return text
}

// TestAnswersAreAsDocumented walks the way of a customer and the commonest refusals.
func TestAnswersAreAsDocumented(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := readContract(t, w.start(t, w.AppURL, host.Limits{}))
	product, scarce := w.Product(t, 10).String(), w.Product(t, 1).String()
	customer := "customer-" + kit.Unique(t)
	token := w.token(t, customer)
	get := func(want int, path string) reply {
		t.Helper()
		return c.do(t, want, call{method: http.MethodGet, path: path, token: token})
	}
	write := func(want int, method, path, key string, body any) reply {
		t.Helper()
		return c.do(t, want, call{method: method, path: path, token: token, key: key, body: body})
	}

	get(http.StatusOK, "/api/v1/products?pageSize=1")
	get(http.StatusOK, "/api/v1/products/"+product)
	get(http.StatusNotFound, "/api/v1/products/"+uuid.NewString())
	c.do(t, http.StatusUnauthorized, call{method: http.MethodGet, path: "/api/v1/products"})

	cart := "/api/v1/carts/" + member(t, write(http.StatusCreated, http.MethodPost, "/api/v1/carts", uuid.NewString(), map[string]any{"sessionId": "visit"}), "id")
	write(http.StatusOK, http.MethodPut, cart+"/items", uuid.NewString(), map[string]any{"productId": product, "quantity": 2})
	assert.Contains(t, string(get(http.StatusOK, cart).body), product)
	write(http.StatusOK, http.MethodDelete, cart+"/items/"+product, uuid.NewString(), nil)
	assert.NotContains(t, string(get(http.StatusOK, cart).body), product)

	key, order := uuid.NewString(), draft(customer, map[string]int{product: 2})
	first := write(http.StatusCreated, http.MethodPost, "/api/v1/orders", key, order)
	again := write(http.StatusCreated, http.MethodPost, "/api/v1/orders", key, order)
	assert.Empty(t, first.header.Get("Idempotent-Replayed"))
	assert.Equal(t, "true", again.header.Get("Idempotent-Replayed"))
	assert.Equal(t, string(first.body), string(again.body))
	path := "/api/v1/orders/" + member(t, first, "id")
	assert.Equal(t, path, first.header.Get("Location"))
	get(http.StatusOK, path)
	get(http.StatusOK, "/api/v1/orders")
	write(http.StatusUnprocessableEntity, http.MethodPost, "/api/v1/orders", key, draft(customer, map[string]int{product: 3}))
	write(http.StatusBadRequest, http.MethodPost, "/api/v1/orders", "", order)
	write(http.StatusForbidden, http.MethodPost, "/api/v1/orders", uuid.NewString(), draft("somebody else", map[string]int{product: 1}))
	write(http.StatusConflict, http.MethodPost, "/api/v1/orders", uuid.NewString(), draft(customer, map[string]int{scarce: 2}))
	expecting := draft(customer, map[string]int{product: 1})
	expecting["lines"].([]map[string]any)[0]["expectedUnitPrice"] = map[string]any{"amount": "1.00", "currency": "USD"}
	assert.Contains(t, member(t, write(http.StatusConflict, http.MethodPost, "/api/v1/orders", uuid.NewString(), expecting), "type"), "price-changed")
	write(http.StatusUnprocessableEntity, http.MethodPost, "/api/v1/orders", uuid.NewString(), draft(customer, map[string]int{product: 0}))
	write(http.StatusBadRequest, http.MethodPost, "/api/v1/orders", `"`, order)
	get(http.StatusBadRequest, "/api/v1/products?cursor=x")
	assert.Equal(t, 8, kit.One[int](t, w.Database, `SELECT available::int FROM inventory WHERE product_id = $1`, product))

	cancelled := write(http.StatusOK, http.MethodPatch, path+"/cancel", uuid.NewString(), map[string]any{"reason": "changed my mind"})
	assert.Equal(t, "Cancelled", member(t, cancelled, "status"))
	assert.Equal(t, 10, kit.One[int](t, w.Database, `SELECT available::int FROM inventory WHERE product_id = $1`, product))
	tooLate := write(http.StatusConflict, http.MethodPatch, path+"/cancel", uuid.NewString(), map[string]any{"reason": "again"})
	assert.Contains(t, member(t, tooLate, "type"), "too-late")
}

// TestInternalPagesAreAsDocumented asks what the gateway does not publish.
func TestInternalPagesAreAsDocumented(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := readContract(t, w.start(t, w.AppURL, host.Limits{}))
	for _, path := range []string{"/health/startup", "/health/ready", "/health/live", "/metrics"} {
		c.do(t, http.StatusOK, call{method: http.MethodGet, path: path})
	}
}
