package e2e

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/infra/local/host"
	"github.com/company/order-catalog-service/tests/kit"
)

// Whose things an operation opens, in the words of the document.
const (
	own        = "own"
	ownOrAdmin = "own, an admin anyone's"
	everyones  = "everyone's"
)

// right is what one operation asks of its caller, written down here a second time: the service's table can't be right
// by being compared with itself.
type right struct {
	scope, role, reach string
	ok                 int // the answer for who may do it
	// ask makes a fresh thing of ada's, and the request of caller for it.
	ask func(t *testing.T, m *matrix, caller string) request
}

// request is a call, and the id in its path that is ada's.
type request struct {
	call
	thing string
	shown string // where the thing can be read, "" when nobody has one
}

// rights has a line for every operation. One that is not here fails the test, and so does a line too many.
var rights = map[string]right{
	"list-products":  {"catalog:read", "", everyones, 200, get("/api/v1/products")},
	"read-product":   {"catalog:read", "", everyones, 200, product(http.MethodGet, "", nil)},
	"change-product": {"catalog:write", "", everyones, 200, product(http.MethodPatch, "", map[string]any{"name": "Renamed"})},
	"adjust-stock":   {"catalog:write", "", everyones, 200, product(http.MethodPost, "/stock-adjustments", map[string]any{"delta": 1, "reason": "found one"})},

	"create-cart":      {"", "", own, 201, post("/api/v1/carts", map[string]any{"sessionId": "visit"})},
	"read-cart":        {"", "", own, 200, cart(http.MethodGet, "")},
	"set-cart-item":    {"", "", own, 200, cart(http.MethodPut, "/items")},
	"remove-cart-item": {"", "", own, 200, cart(http.MethodDelete, "/items/"+uuid.Nil.String())},

	"place-order": {"order:write", "", ownOrAdmin, 201, func(_ *testing.T, m *matrix, caller string) request {
		return request{call: call{method: http.MethodPost, path: "/api/v1/orders", body: draft(caller, map[string]int{m.product: 1})}}
	}},
	"read-order-request": {"order:write", "", own, 200, func(t *testing.T, m *matrix, _ string) request {
		t.Helper()
		placed := m.as(t, m.ada, call{method: http.MethodPost, path: "/api/v1/orders", prefer: "respond-async", body: draft(m.customer, map[string]int{m.product: 1})}, 202)
		path := placed.header.Get("Location")
		return request{call{method: http.MethodGet, path: path}, path[strings.LastIndex(path, "/")+1:], ""}
	}},
	"read-order":    {"order:read", "", ownOrAdmin, 200, order(http.MethodGet, "", nil)},
	"list-orders":   {"order:read", "", ownOrAdmin, 200, get("/api/v1/orders")},
	"cancel-order":  {"order:cancel", "", ownOrAdmin, 200, order(http.MethodPatch, "/cancel", map[string]any{"reason": "too late"})},
	"confirm-order": {"order:write", "admin", everyones, 200, order(http.MethodPost, "/confirm", nil)},

	"list-dead-letters":     {"", "admin", everyones, 200, get("/api/v1/ops/dead-letters")},
	"read-dead-letter":      {"", "admin", everyones, 404, get("/api/v1/ops/dead-letters/" + uuid.Nil.String())},
	"redrive-dead-letter":   {"", "admin", everyones, 404, post("/api/v1/ops/dead-letters/"+uuid.Nil.String()+"/redrive", nil)},
	"discard-dead-letter":   {"", "admin", everyones, 404, post("/api/v1/ops/dead-letters/"+uuid.Nil.String()+"/discard", map[string]any{"reason": "no use"})},
	"list-parked-events":    {"", "admin", everyones, 200, get("/api/v1/ops/parked-events")},
	"release-parked-events": {"", "admin", everyones, 404, post("/api/v1/ops/parked-events/"+uuid.Nil.String()+"/release", nil)},
	"list-switches":         {"", "admin", everyones, 200, get("/api/v1/ops/switches")},
	"read-metrics":          {"", "admin", everyones, 200, get("/api/v1/ops/metrics")},
	"set-switch": {"", "admin", everyones, 404, func(*testing.T, *matrix, string) request {
		return request{call: call{method: http.MethodPut, path: "/api/v1/ops/switches/none", body: map[string]any{"on": true}}}
	}},
	"list-audit-log": {"", "admin", everyones, 200, get("/api/v1/ops/audit")},

	"register-webhook":        {"webhook:manage", "admin", everyones, 201, post("/api/v1/webhooks/register", map[string]any{"url": "http://127.0.0.1:9/hook", "events": []string{"order.created.v1"}})},
	"list-webhooks":           {"webhook:manage", "", ownOrAdmin, 200, get("/api/v1/webhooks")},
	"read-webhook":            {"webhook:manage", "", ownOrAdmin, 200, webhook(http.MethodGet, "", nil)},
	"change-webhook":          {"webhook:manage", "", ownOrAdmin, 200, webhook(http.MethodPatch, "", map[string]any{"description": "changed"})},
	"delete-webhook":          {"webhook:manage", "", ownOrAdmin, 204, webhook(http.MethodDelete, "", nil)},
	"rotate-webhook-secret":   {"webhook:manage", "", ownOrAdmin, 200, webhook(http.MethodPost, "/rotate-secret", map[string]any{})},
	"test-webhook":            {"webhook:manage", "", ownOrAdmin, 202, webhook(http.MethodPost, "/test", map[string]any{})},
	"replay-webhook":          {"webhook:manage", "", ownOrAdmin, 202, webhook(http.MethodPost, "/replay", map[string]any{"status": "dead"})},
	"list-webhook-deliveries": {"webhook:manage", "", ownOrAdmin, 200, webhook(http.MethodGet, "/deliveries", nil)},
	"read-webhook-delivery": {"webhook:manage", "", ownOrAdmin, 200, func(t *testing.T, m *matrix, caller string) request {
		t.Helper()
		r := webhook(http.MethodGet, "", nil)(t, m, caller)
		sent := m.as(t, m.ada, call{method: http.MethodPost, path: r.path + "/test", body: map[string]any{}}, 202)
		r.path = sent.header.Get("Location")
		return r
	}},
	"read-events": {"webhook:manage", "admin", everyones, 200, get("/api/v1/events")},
}

type asker = func(t *testing.T, m *matrix, caller string) request

func get(path string) asker {
	return func(*testing.T, *matrix, string) request {
		return request{call: call{method: http.MethodGet, path: path}}
	}
}

func post(path string, body any) asker {
	return func(*testing.T, *matrix, string) request {
		return request{call: call{method: http.MethodPost, path: path, body: body}}
	}
}

func product(method, below string, body any) asker {
	return func(t *testing.T, m *matrix, _ string) request {
		t.Helper()
		id := m.world.Product(t, 5).String()
		path := "/api/v1/products/" + id
		c := call{method: method, path: path + below, body: body}
		if method == http.MethodPatch {
			c.ifMatch = m.as(t, m.ada, call{method: http.MethodGet, path: path}, 200).header.Get("ETag")
		}
		return request{c, id, path}
	}
}

func cart(method, below string) asker {
	return func(t *testing.T, m *matrix, _ string) request {
		t.Helper()
		path := m.as(t, m.ada, call{method: http.MethodPost, path: "/api/v1/carts", body: map[string]any{"sessionId": "ada's"}}, 201).header.Get("Location")
		item := map[string]any{"productId": m.product, "quantity": 2}
		m.as(t, m.ada, call{method: http.MethodPut, path: path + "/items", body: item}, 200)
		c := call{method: method, path: path + below}
		if method == http.MethodPut {
			c.body = map[string]any{"productId": m.product, "quantity": 7}
		}
		return request{c, path[strings.LastIndex(path, "/")+1:], path}
	}
}

func order(method, below string, body any) asker {
	return func(t *testing.T, m *matrix, _ string) request {
		t.Helper()
		path := m.as(t, m.ada, call{method: http.MethodPost, path: "/api/v1/orders", body: draft(m.customer, map[string]int{m.product: 1})}, 201).header.Get("Location")
		return request{call{method: method, path: path + below, body: body}, path[strings.LastIndex(path, "/")+1:], path}
	}
}

func webhook(method, below string, body any) asker {
	return func(t *testing.T, m *matrix, _ string) request {
		t.Helper()
		made := m.as(t, m.ada, call{method: http.MethodPost, path: "/api/v1/webhooks/register", body: map[string]any{
			"url": "http://127.0.0.1:9/hook", "events": []string{"product.stock_depleted.v1"},
		}}, 201)
		id := member(t, made, "id")
		path := "/api/v1/webhooks/" + id
		return request{call{method: method, path: path + below, body: body}, id, path}
	}
}

// matrix is a service with things of ada's in it.
type matrix struct {
	contract
	customer string // ada
	ada      string // her token: everything, and the role for what only an admin can make
	product  string
}

// as does something with a token, for which everything must be as it should.
func (m *matrix) as(t *testing.T, token string, c call, want int) reply {
	t.Helper()
	if c.token = token; c.method != http.MethodGet {
		c.key = uuid.NewString()
	}
	got, err := m.send(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, want, got.status, "%s %s: %s", c.method, c.path, got.body)
	return got
}

// caller is a kind of token.
type caller struct {
	name, sub, scope string
	roles            []string
}

// has tells whether the caller has a scope: a user by scp; an application, which has none, by its roles.
func (c caller) has(scope string) bool {
	if c.scope == "" {
		return slices.Contains(c.roles, scope)
	}
	return slices.Contains(strings.Fields(c.scope), scope)
}

func (c caller) admin() bool { return slices.Contains(c.roles, "admin") }

var scopes = []string{"catalog:read", "catalog:write", "order:read", "order:write", "order:cancel", "webhook:manage"}

func callers(ada, eve string) []caller {
	all := strings.Join(scopes, " ")
	list := []caller{
		{"no scope", eve, "", nil},
		{"another API's scope", eve, "profile", nil},
		{"all scopes", eve, all, nil},
		{"the role alone", eve, "profile", []string{"admin"}},
		{"all scopes and the role", eve, all, []string{"admin"}},
		{"a user with roles named like scopes", eve, "profile", scopes},
		{"a scope named like the role", eve, all + " admin", nil},
		{"an application with all of it", eve, "", append([]string{"admin"}, scopes...)},
		{"an application with the role alone", eve, "", []string{"admin"}},
		{"ada", ada, all, nil},
		{"ada with the role", ada, all, []string{"admin"}},
	}
	for _, scope := range scopes {
		list = append(list, caller{scope, eve, scope, nil}, caller{"an application with " + scope, eve, "", []string{scope}})
	}
	return list
}

// TestP5WhoMayDoWhat asks every operation of the running service for every kind of token: 401 without one, 403 without
// the scope or the role, and for another customer's things 404 as for things that never were. New operations need a line
// in rights.
func TestP5WhoMayDoWhat(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := &matrix{contract: readContract(t, w.start(t, w.AppURL, host.Limits{})), customer: "ada-" + kit.Unique(t), product: w.Product(t, 10_000).String()}
	token := func(c caller) string {
		token, err := w.issuer.Token(c.sub, c.scope, c.roles...)
		require.NoError(t, err)
		return token
	}
	m.ada = token(caller{"", m.customer, strings.Join(scopes, " "), []string{"admin"}})
	cast := callers(m.customer, "eve-"+kit.Unique(t))

	seen := map[string]bool{}
	for id, policy := range m.operations(t) {
		line, ok := rights[id]
		if !assert.True(t, ok, "%s is new: give it a line in rights", id) {
			continue
		}
		seen[id] = true
		assert.Equal(t, map[string]string{"scope": line.scope, "role": line.role, "reach": line.reach},
			map[string]string{"scope": policy["scope"], "role": policy["role"], "reach": policy["reach"]}, "%s is documented as it is", id)
		t.Run(id, func(t *testing.T) {
			standing := line.ask(t, m, m.customer) // what those who may not may try at
			m.is(t, id, standing)
			before := m.look(t, standing)
			m.refused(t, standing.call, http.StatusUnauthorized, `Bearer realm="order-catalog"`)
			for _, c := range cast {
				may := (line.scope == "" || c.has(line.scope)) && (line.role == "" || slices.Contains(c.roles, line.role))
				reaches := line.reach == everyones || c.sub == m.customer || line.reach == ownOrAdmin && c.admin()
				ask := line.ask
				switch {
				case !may:
					denied := standing.call
					denied.token, denied.key = token(c), uuid.NewString()
					challenge := `Bearer realm="order-catalog", error="insufficient_scope"`
					if line.scope != "" {
						challenge += `, scope="` + line.scope + `"`
					}
					m.refused(t, denied, http.StatusForbidden, challenge, c.name)
				case standing.thing != "" && !reaches:
					m.absent(t, standing, token(c), c.name)
				default:
					r := ask(t, m, c.sub)
					got := m.as(t, token(c), r.call, line.ok)
					if c.sub != m.customer && !c.admin() && r.thing == "" && line.reach != everyones {
						assert.NotContains(t, string(got.body), m.customer, "%s: %s", id, c.name)
					}
				}
			}
			assert.Equal(t, before, m.look(t, standing), "those who may not have changed nothing")
		})
	}
	for id := range rights {
		assert.True(t, seen[id], "there is no operation %s any more", id)
	}
}

// operations reads from the document what is published, and what it says of who may use it.
func (m *matrix) operations(t *testing.T) map[string]map[string]string {
	t.Helper()
	got, err := m.send(t.Context(), call{method: http.MethodGet, path: "/openapi.json"})
	require.NoError(t, err)
	var doc struct {
		Paths map[string]map[string]struct {
			ID       string            `json:"operationId"`
			Internal bool              `json:"x-internal"`
			Policy   map[string]string `json:"x-policy"`
		} `json:"paths"`
	}
	require.NoError(t, json.Unmarshal(got.body, &doc))
	out := map[string]map[string]string{}
	for path, methods := range doc.Paths {
		if path == "/graphql" { // each of its fields has a policy: functions/graphql tests them
			continue
		}
		for method, op := range methods {
			if op.Internal {
				continue
			}
			require.NotEmpty(t, op.ID, "%s %s", method, path)
			require.NotEmpty(t, op.Policy, "%s lets everybody in", op.ID)
			out[op.ID] = op.Policy
		}
	}
	require.Greater(t, len(out), 20)
	return out
}

// is checks that a line asks the operation that it stands for.
func (m *matrix) is(t *testing.T, id string, r request) {
	t.Helper()
	route, _, err := m.router.FindRoute(&http.Request{Method: r.method, URL: &url.URL{Path: r.path}})
	require.NoError(t, err, "%s %s", r.method, r.path)
	require.Equal(t, id, route.Operation.OperationID)
}

func (m *matrix) look(t *testing.T, r request) string {
	t.Helper()
	if r.shown == "" {
		return ""
	}
	return string(m.as(t, m.ada, call{method: http.MethodGet, path: r.shown}, 200).body)
}

// refused asks, and wants to be told so, by why.
func (m *matrix) refused(t *testing.T, c call, want int, challenge string, who ...any) {
	t.Helper()
	got, err := m.send(t.Context(), c)
	require.NoError(t, err)
	assert.Equal(t, want, got.status, "%v: %s", who, got.body)
	assert.Equal(t, challenge, got.header.Get("WWW-Authenticate"), "%v", who)
	assert.Equal(t, "application/problem+json", got.header.Get("Content-Type"))
}

// absent asks for a thing of somebody else's and for one that never was: nobody could tell which is which.
func (m *matrix) absent(t *testing.T, r request, token, who string) {
	t.Helper()
	ask := func(c call) (int, http.Header, map[string]any) {
		if c.token = token; c.method != http.MethodGet {
			c.key = uuid.NewString()
		}
		got, err := m.send(t.Context(), c)
		require.NoError(t, err)
		var body map[string]any
		require.NoError(t, json.Unmarshal(got.body, &body), "%s", got.body)
		for _, own := range []string{"instance", "correlationId"} { // each answer has its own
			delete(body, own)
		}
		got.header.Del("X-Correlation-Id")
		got.header.Del("Date")
		got.header.Del("Content-Length") // of the path in instance
		return got.status, got.header, body
	}
	never := r.call
	never.path = strings.Replace(r.path, r.thing, uuid.NewString(), 1)
	status, header, body := ask(r.call)
	statusNever, headerNever, bodyNever := ask(never)
	assert.Equal(t, http.StatusNotFound, status, "%s: %v", who, body)
	assert.Equal(t, statusNever, status, who)
	assert.Equal(t, bodyNever, body, who)
	for name := range headerNever {
		if !strings.HasPrefix(name, "Ratelimit") { // counts each call
			assert.Equal(t, headerNever[name], header[name], "%s: %s", who, name)
		}
	}
	assert.Len(t, header, len(headerNever))
	assert.NotContains(t, body["detail"], r.thing)
}

// TestP5CustomerIDIsTheCallers: naming somebody else is for admins, whoever it is and whether or not they exist.
func TestP5CustomerIDIsTheCallers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start(t, w.AppURL, host.Limits{})
	product := w.Product(t, 10).String()
	ada, eve := "ada-"+kit.Unique(t), "eve-"+kit.Unique(t)
	ask := func(token, customer string) (status, listed int) {
		placed, err := s.send(t.Context(), call{method: http.MethodPost, path: "/api/v1/orders", token: token, key: uuid.NewString(), body: draft(customer, map[string]int{product: 1})})
		require.NoError(t, err)
		list, err := s.send(t.Context(), call{method: http.MethodGet, path: "/api/v1/orders?customerId=" + customer, token: token})
		require.NoError(t, err)
		return placed.status, list.status
	}
	for _, c := range []struct {
		customer     string
		roles        []string
		placed, list int
	}{
		{eve, nil, 201, 200},
		{ada, nil, 403, 403},
		{"nobody-" + ada, nil, 403, 403},
		{ada, []string{"admin"}, 201, 200},
	} {
		token, err := w.issuer.Token(eve, kit.Everything, c.roles...)
		require.NoError(t, err)
		placed, listed := ask(token, c.customer)
		assert.Equal(t, c.placed, placed, "%+v", c)
		assert.Equal(t, c.list, listed, "%+v", c)
	}
	got, err := s.send(t.Context(), call{method: http.MethodGet, path: "/api/v1/orders", token: w.token(t, ada)})
	require.NoError(t, err)
	assert.Contains(t, string(got.body), `"customerId":"`+ada+`"`, "the admin's order is ada's")
	assert.NotContains(t, string(got.body), eve)
}
