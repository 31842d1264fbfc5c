package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/infra/local/host"
	"github.com/company/order-catalog-service/tests/kit"
)

// books is all that a write could have changed, in one text.
func (a *afflicted) books(t *testing.T) string {
	t.Helper()
	var all []string
	for _, table := range []string{"products", "inventory", "carts", "cart_items", "orders", "order_lines", "idempotency_keys", "webhook_replays", "outbox_parked", "dead_letters"} {
		all = append(all, table+" "+kit.One[string](t, a.world.Database, `SELECT coalesce(md5(string_agg(r::text, ';' ORDER BY r::text)), 'none') FROM `+table+` r`))
	}
	for _, table := range []string{"outbox", "webhook_endpoints", "webhook_deliveries", "order_requests"} { // whose rows work in the background changes
		all = append(all, table+" "+strconv.Itoa(kit.One[int](t, a.world.Database, `SELECT count(*)::int FROM `+table)))
	}
	return strings.Join(all, "\n")
}

// TestABodylessWriteSentFortyTimes: when the handler closes a connection without an answer the host sends a request that
// has no body up to forty times. Without a key each copy is refused before it does anything; with one they do it once.
func TestABodylessWriteSentFortyTimes(t *testing.T) {
	t.Parallel()
	a := newAfflicted(t, host.Limits{Resend: make([]time.Duration, 9)})
	raw, err := a.send(t.Context(), call{method: http.MethodGet, path: "/openapi.json"})
	require.NoError(t, err)
	var doc struct {
		Paths map[string]map[string]struct {
			OperationID string
			RequestBody *struct{ Required bool }
		}
	}
	require.NoError(t, json.Unmarshal(raw.body, &doc))
	var writes []string
	for path, methods := range doc.Paths {
		for method, operation := range methods {
			if method != "get" && path != "/graphql" && (operation.RequestBody == nil || !operation.RequestBody.Required) {
				writes = append(writes, operation.OperationID)
			}
		}
	}
	require.Contains(t, writes, "confirm-order")
	require.Contains(t, writes, "delete-webhook")
	t.Logf("writes that need no body: %v", writes)
	for _, id := range writes {
		c := rights[id].ask(t, a.matrix, a.customer).call
		before := a.books(t)
		c.token, c.body, c.correlation = a.ada, nil, "unanswered-"+id
		got, err := a.send(t.Context(), c)
		require.NoError(t, err)
		assert.Equal(t, http.StatusInternalServerError, got.status, "%s: the host's own answer: %s", id, got.body)
		copies := a.notes(t, "unanswered unanswered-"+id+" ")
		assert.Len(t, copies, 40, id)
		assert.Len(t, slices.Compact(copies), 1, "%s: one invocation, and each copy gets the same", id)
		assert.True(t, strings.HasSuffix(copies[0], " 400"), "%s: %s", id, copies[0])
		assert.Equal(t, before, a.books(t), "%s changed something", id)
	}

	r := rights["confirm-order"].ask(t, a.matrix, a.customer)
	c := r.call
	c.token, c.key, c.correlation = a.ada, uuid.NewString(), "unanswered-with-a-key"
	_, err = a.send(t.Context(), c)
	require.NoError(t, err)
	assert.GreaterOrEqual(t, len(a.notes(t, "unanswered unanswered-with-a-key ")), 40)
	c.correlation = ""
	got, err := a.send(t.Context(), c)
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, got.status, "%s", got.body)
	assert.Equal(t, "true", got.header.Get("Idempotent-Replayed"), "the first copy did it")
	assert.Equal(t, 1, kit.One[int](t, a.world.Database, `SELECT count(*)::int FROM outbox WHERE type = 'order.confirmed.v1' AND aggregate_id = $1::uuid`, r.thing))
	a.lives(t)
}

// peak is the most memory that a process has had, in bytes; 0 where the system doesn't tell.
func peak(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if os.IsNotExist(err) {
		return 0
	}
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kB, err := strconv.Atoi(strings.Fields(rest)[0])
			require.NoError(t, err)
			return kB << 10
		}
	}
	return 0
}

// TestARequestMadeToExhaustMemoryIsRefused sends what is large, deep or wide, eight at a time. Three processes that run out
// of memory would end the host, so none may: each is refused, and the handler grows by little, whatever was sent.
func TestARequestMadeToExhaustMemoryIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start(t, w.AppURL, host.Limits{})
	product := w.Product(t, 10).String()
	const mib, harmless = 1 << 20, ", which nothing asks for"
	text := func(s string) func() io.Reader { return func() io.Reader { return strings.NewReader(s) } }
	attacks := map[string]struct {
		path string
		body func() io.Reader
		kind string
	}{
		"a body of 12 MiB":                    {"/api/v1/orders", func() io.Reader { return bytes.NewReader(make([]byte, 12*mib)) }, "application/json"},
		"64 MiB of unknown length":            {"/api/v1/orders", func() io.Reader { return io.LimitReader(endless{}, 64*mib) }, "application/json"},
		"64 MiB of unknown length to GraphQL": {"/graphql", func() io.Reader { return io.LimitReader(endless{}, 64*mib) }, "application/json"},
		"a body that unpacks to more":         {"/api/v1/orders", text(strings.Repeat("\x1f\x8b\x08\x00", 1000)), "application/gzip"},
		"100,000 brackets":                    {"/api/v1/orders", text(`{"lines":` + strings.Repeat("[", 100_000)), "application/json"},
		"100,000 members":                     {"/api/v1/orders", text("{" + strings.Repeat(`"a":1,`, 30_000) + `"b":1}`), "application/json"},
		"20,000 lines":                        {"/api/v1/orders", text(`{"lines":[` + strings.Repeat(`{},`, 20_000) + `{}]}`), "application/json"},
		"a deep GraphQL document":             {"/graphql", text(`{"query":"` + strings.Repeat("{a", 10_000) + `"}`), "application/json"},
		"a wide GraphQL document":             {"/graphql", text(`{"query":"{` + aliases(3_000) + `}"}`), "application/json"},
		"deep GraphQL variables" + harmless:   {"/graphql", text(`{"query":"{__typename}","variables":` + strings.Repeat(`{"a":`, 9_000) + "1" + strings.Repeat("}", 9_000) + "}"), "application/json"},
		"a page of millions":                  {"/api/v1/products?pageSize=100000000", nil, ""},
	}
	pid, before := s.HandlerPID(), peak(t, s.HandlerPID())
	grew := func(name string) {
		t.Helper()
		now := peak(t, pid)
		t.Logf("%3d MiB at the most, %s", now/mib, name)
		assert.Less(t, now-before, 128*mib, name) // eight whole bodies of 64 MiB would be 512
		before = now
	}
	token := w.token(t, "customer-"+kit.Unique(t))
	for _, name := range slices.Sorted(maps.Keys(attacks)) {
		attack := attacks[name]
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				method, body := http.MethodGet, io.Reader(nil)
				if attack.body != nil {
					method, body = http.MethodPost, attack.body()
				}
				req, err := http.NewRequestWithContext(ctx, method, "http://"+s.Addr()+attack.path, body)
				if !assert.NoError(t, err) {
					return
				}
				req.Header.Set("Authorization", "Bearer "+token)
				req.Header.Set("Idempotency-Key", uuid.NewString())
				req.Header.Set("Accept", "application/graphql-response+json, application/json")
				if attack.kind != "" {
					req.Header.Set("Content-Type", attack.kind)
				}
				got, err := answer(req)
				if err != nil && strings.Contains(name, "unknown length") {
					return // it was cut off while it was being sent, which is an answer too
				}
				assert.NoError(t, err, name)
				if strings.HasSuffix(name, harmless) {
					assert.Equal(t, http.StatusOK, got.status, "%s: %s", name, got.body)
					return
				}
				assert.True(t, got.status >= 400 && got.status < 500, "%s: %d %s", name, got.status, got.body)
			})
		}
		all.Wait()
		grew(name)
	}
	// And what only the host can send: a batch that no broker would make.
	err := s.Invoke(t.Context(), "orders-queued", map[string]any{"messages": []any{strings.Repeat("x", 40*mib)}}, nil)
	require.ErrorContains(t, err, "status 500")

	assert.Equal(t, pid, s.HandlerPID(), "the process lives")
	grew("a batch of 40 MiB")
	got, err := s.send(t.Context(), call{method: http.MethodGet, path: "/api/v1/products/" + product, token: token})
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, got.status, "%s", got.body)
}

// aliases is a selection of n fields.
func aliases(n int) string {
	var all strings.Builder
	for i := range n {
		fmt.Fprintf(&all, "a%d:__typename ", i)
	}
	return all.String()
}

// endless is blanks without end, which JSON may begin with.
type endless struct{}

// Read implements io.Reader.
func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}
