package e2e

import (
	"context"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/infra/local/child"
	"github.com/company/order-catalog-service/infra/local/host"
	"github.com/company/order-catalog-service/infra/local/redisserver"
	"github.com/company/order-catalog-service/tests/kit"
)

// RL-08: Redis is stopped under a running service. A class that is open goes on with its whole quota, one that shares with
// its share, and one that is closed refuses, each as it is declared; and when Redis is back so is what they were.
func TestRL08RedisIsStoppedUnderTheService(t *testing.T) {
	t.Parallel()
	if redisserver.Installed() == "" {
		if os.Getenv("CI") != "" {
			t.Fatal("redis-server is not on PATH")
		}
		t.Skip("redis-server is not on PATH")
	}
	port, err := child.FreePort()
	require.NoError(t, err)
	begin := func() *redisserver.Server {
		server, err := redisserver.Start(context.Background(), t.TempDir(), port)
		require.NoError(t, err)
		return server
	}
	redis := begin()
	defer func() { redis.Stop() }()

	w := newWorld(t)
	s := w.start(t, w.AppURL, host.Limits{}, "REDIS_URL="+redis.URL(), "RATE_LIMIT_WITHOUT_REDIS=rest=closed", "RATE_LIMIT_PROCESSES=4",
		"RATE_LIMIT_CHECKOUT=12/1h", "RATE_LIMIT_BROWSE=12/1h", "RATE_LIMIT_REST=12/1h")
	product := w.Product(t, 1000).String()
	boss := func() string {
		token, err := w.issuer.Token("boss-"+kit.Unique(t), "webhook:manage", "admin")
		require.NoError(t, err)
		return token
	}
	count := func(ask func() reply) map[int]int {
		got := map[int]int{}
		for range 20 {
			got[ask().status]++
		}
		return got
	}
	send := func(c call) reply {
		r, err := s.send(t.Context(), c)
		require.NoError(t, err)
		return r
	}
	orders := func(customer string) func() reply {
		token := w.token(t, customer)
		return func() reply {
			return send(call{method: http.MethodPost, path: "/api/v1/orders", token: token, key: uuid.NewString(), body: draft(customer, map[string]int{product: 1})})
		}
	}
	pages := func(token, path string) func() reply {
		return func() reply { return send(call{method: http.MethodGet, path: path, token: token}) }
	}
	assert.Equal(t, map[int]int{201: 12, 429: 8}, count(orders("customer-"+kit.Unique(t))), "with Redis")
	assert.Equal(t, map[int]int{200: 12, 429: 8}, count(pages(boss(), "/api/v1/webhooks")))

	redis.Stop()
	assert.Equal(t, map[int]int{201: 12, 429: 8}, count(orders("customer-"+kit.Unique(t))), "open: the whole quota, in each process")
	// The first is on credit, which asks nobody; then a fourth of twelve.
	assert.Equal(t, map[int]int{200: 4, 429: 16}, count(pages(w.token(t, "customer-"+kit.Unique(t)), "/api/v1/products")), "share")
	closed := boss()
	pages(closed, "/api/v1/webhooks")() // on credit
	refused := pages(closed, "/api/v1/webhooks")()
	assert.Equal(t, http.StatusServiceUnavailable, refused.status, "%s", refused.body)
	assert.Contains(t, string(refused.body), "/docs/problems/dependency-unavailable")
	assert.NotEmpty(t, refused.header.Get("Retry-After"))
	assert.Equal(t, map[int]int{503: 20}, count(pages(closed, "/api/v1/webhooks")), "closed")

	redis = begin()
	require.Eventually(t, func() bool {
		return pages(boss(), "/api/v1/webhooks")().status == http.StatusOK && pages(closed, "/api/v1/webhooks")().status == http.StatusOK
	},
		20*time.Second, 100*time.Millisecond, "open again")
}
