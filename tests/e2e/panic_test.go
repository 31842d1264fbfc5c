package e2e

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/infra/local/host"
	"github.com/company/order-catalog-service/tests/kit"
)

// afflicted is a service that fails where the test says, with ada's things in it.
type afflicted struct {
	*matrix
	*faulty
	pid int
}

func newAfflicted(t *testing.T, limits host.Limits) *afflicted {
	t.Helper()
	w, f := newWorld(t), newFaulty(t)
	a := &afflicted{faulty: f, matrix: &matrix{
		contract: readContract(t, w.startAt(t, f.root, w.AppURL, limits, f.setting())),
		customer: "ada-" + kit.Unique(t), product: w.Product(t, 10_000).String(),
	}}
	token, err := w.issuer.Token(a.customer, strings.Join(scopes, " "), "admin")
	require.NoError(t, err)
	a.ada, a.pid = token, a.HandlerPID()
	return a
}

// lives asserts that the process is the one that it was, and still does its work.
func (a *afflicted) lives(t *testing.T) {
	t.Helper()
	assert.Equal(t, a.pid, a.HandlerPID(), "the process lives")
	assert.Equal(t, http.StatusOK, order(http.MethodGet, "", nil)(t, a.matrix, a.customer).status(t, a), "and works")
}

func (r request) status(t *testing.T, a *afflicted) int {
	t.Helper()
	c := r.call
	c.token = a.ada
	got, err := a.send(t.Context(), c)
	require.NoError(t, err)
	return got.status
}

// TestAPanicInAnyRouteIsOneAnswer has every operation and every kind of page panic at its bottom. The client gets one 500,
// a problem like any other, and the host has nothing to send again: the handler is asked once.
func TestAPanicInAnyRouteIsOneAnswer(t *testing.T) {
	t.Parallel()
	a := newAfflicted(t, host.Limits{Resend: make([]time.Duration, 9)}) // for a failing test to be quick
	asks := map[string]call{
		"page-docs": {method: http.MethodGet, path: "/docs/"}, "page-openapi": {method: http.MethodGet, path: "/openapi.json"},
		"page-ops": {method: http.MethodGet, path: "/ops/"}, "page-metrics": {method: http.MethodGet, path: "/metrics"},
		"page-live": {method: http.MethodGet, path: "/health/live"}, "page-ready": {method: http.MethodGet, path: "/health/ready"},
		"page-graphql": {method: http.MethodPost, path: "/graphql", body: map[string]any{"query": "{__typename}"}},
	}
	for id := range a.operations(t) {
		require.Contains(t, rights, id)
		asks[id] = rights[id].ask(t, a.matrix, a.customer).call
	}
	for id, c := range asks {
		c.token, c.correlation = a.ada, "panic-"+id
		if c.method != http.MethodGet {
			c.key = uuid.NewString()
		}
		got, err := a.send(t.Context(), c)
		require.NoError(t, err, id)
		assert.Equal(t, http.StatusInternalServerError, got.status, "%s: %s", id, got.body)
		assert.Equal(t, "application/problem+json", got.header.Get("Content-Type"), id)
		assert.Contains(t, string(got.body), c.correlation, "%s: the client has what to ask about", id)
		assert.NotContains(t, string(got.body), "on purpose", "%s: and is told nothing else", id)
		reached := a.notes(t, "operation ")
		reached = slices.DeleteFunc(reached, func(n string) bool { return !strings.HasSuffix(n, " "+c.correlation) })
		assert.Len(t, reached, 1, "%s was called once", id)
	}
	a.lives(t)
}

// triggers are the functions of the staged app that the host calls by itself.
func triggers(t *testing.T, root string) (timers, queues []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "*", "function.json"))
	require.NoError(t, err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		var function struct{ Bindings []struct{ Type string } }
		require.NoError(t, json.Unmarshal(text, &function))
		name := filepath.Base(filepath.Dir(file))
		switch function.Bindings[0].Type {
		case "timerTrigger":
			timers = append(timers, name)
		case "serviceBusTrigger":
			queues = append(queues, name)
		}
	}
	require.NotEmpty(t, timers)
	require.NotEmpty(t, queues)
	return timers, queues
}

// TestAPanicInAnyTriggerIsOneInvocation: it is a failed invocation like any other. A timer's work is done at the next
// occurrence, a message comes again, and what it asked for happens once.
func TestAPanicInAnyTriggerIsOneInvocation(t *testing.T) {
	t.Parallel()
	a := newAfflicted(t, host.Limits{})
	timers, queues := triggers(t, a.root)
	for _, function := range slices.Concat(timers, queues) {
		defer a.ask(t, "trigger-"+function)()
		err := a.Invoke(t.Context(), function, map[string]any{"timer": map[string]any{}}, nil)
		if err == nil && slices.Contains(timers, function) {
			t.Logf("%s: its schedule was first", function)
		} else {
			assert.ErrorContains(t, err, "status 500", function)
		}
		assert.Len(t, a.notes(t, "trigger "+function), 1, "%s was called once", function)
	}

	// The same on a message's way from the order to its receiver, and from a queued order to an order.
	receiver := newCustomer(t)
	receiver.register(t, a.contract, a.ada, a.customer)
	for _, function := range []string{"webhooks-fanout", "webhooks-deliver", "orders-queued"} {
		defer a.ask(t, "trigger-"+function)()
	}
	queued := a.as(t, a.ada, call{
		method: http.MethodPost, path: "/api/v1/orders", prefer: "respond-async", body: draft(a.customer, map[string]int{a.product: 1}),
	}, http.StatusAccepted)
	event := receiver.next(t, 40*time.Second)
	assert.Contains(t, string(event.body), "order.created.v1")
	state := a.as(t, a.ada, call{method: http.MethodGet, path: queued.header.Get("Location")}, http.StatusOK)
	assert.Equal(t, "placed", member(t, state, "status"))
	for _, function := range []string{"webhooks-fanout", "webhooks-deliver", "orders-queued"} {
		assert.Len(t, a.notes(t, "trigger "+function), 2, "%s was called once more, and then did its work", function)
	}
	assert.Equal(t, 1, kit.One[int](t, a.world.Database, `SELECT count(*)::int FROM orders`))
	a.lives(t)
}

// TestAPanicInAnyGoroutineLosesNothing: for a while the work of each goroutine panics, while orders are placed and pages
// are read. Clients may have to ask again; the process lives, and when it is over everything is as it should be.
func TestAPanicInAnyGoroutineLosesNothing(t *testing.T) {
	t.Parallel()
	a := newAfflicted(t, host.Limits{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	clients := a.shop(ctx, t)
	clients.some(ctx, t)
	stop := a.ask(t, "goroutines")
	wanted := []string{"commit lane", "redis lane", "outbox pass", "product", "probe of postgresql"}
	names := map[string]bool{}
	require.Eventually(t, func() bool {
		for _, path := range []string{"/api/v1/products/" + a.world.Product(t, 1).String(), "/health/ready"} {
			_, err := a.send(ctx, call{method: http.MethodGet, path: path, token: a.ada})
			require.NoError(t, err, "whatever it says, there is an answer")
		}
		for _, note := range a.notes(t, "goroutine ") {
			names[strings.TrimPrefix(note, "goroutine ")] = true
		}
		return !slices.ContainsFunc(wanted, func(name string) bool { return !names[name] })
	}, 40*time.Second, 50*time.Millisecond, "goroutines of several kinds panicked: %v", names)
	stop()
	clients.some(ctx, t)
	clients.leave(ctx, t)
	t.Logf("panicked: %v", names)
	assert.Equal(t, a.pid, a.HandlerPID(), "the process lives")
}
