package idempotency

import (
	"context"
	"encoding/hex"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/infra/local/child"
	"github.com/company/order-catalog-service/infra/local/redisserver"
	"github.com/company/order-catalog-service/shared/ratelimit"
	sharedredis "github.com/company/order-catalog-service/shared/redis"
)

// BenchmarkClaim is what an order costs on its way to Redis and back, many at once: the rate window and the claim in one
// round trip, and the answer that nobody waits for. "claim" is the same without a limit.
func BenchmarkClaim(b *testing.B) {
	if redisserver.Installed() == "" {
		b.Skip("redis-server is not on PATH")
	}
	port, err := child.FreePort()
	require.NoError(b, err)
	server, err := redisserver.Start(context.Background(), b.TempDir(), port)
	require.NoError(b, err)
	defer server.Stop()
	client, err := sharedredis.Open(server.URL())
	require.NoError(b, err)
	defer func() { _ = client.Close() }()
	lane, err := sharedredis.NewLane(client)
	require.NoError(b, err)
	m, err := newMetrics()
	require.NoError(b, err)
	c := &claims{lane: lane, timeline: func() string { return "00000001" }, metrics: m}
	answer := Answer{Status: 201, ContentType: "application/json", Location: "/api/v1/orders/018cc251-f400-7000-8000-000000000000", ETag: `"0123456789abcdef"`, Body: make([]byte, 700)}
	for name, text := range map[string]string{"claim": "off", "claim and window": "16000000/1m", "claim, window and hold": "16000000/1m"} {
		b.Run(name, func(b *testing.B) {
			policies, err := ratelimit.Parse("checkout", text)
			require.NoError(b, err)
			limit, err := ratelimit.New(ratelimit.Options{Class: "checkout", Policies: policies, Lane: lane})
			require.NoError(b, err)
			callers := make([]uuid.UUID, 1000)
			for i := range callers {
				callers[i] = uuid.New()
			}
			var n, alone atomic.Int64
			b.ReportAllocs()
			b.SetParallelism(32)
			before := busy(b, client)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				ctx := context.Background()
				for pb.Next() {
					i := int(n.Add(1))
					caller := callers[i%len(callers)]
					req := Request{Caller: caller, Operation: "place-order", Key: name + strconv.Itoa(i), Charge: limit.Open(caller)}
					if strings.HasSuffix(name, "hold") {
						req.Hold = "order:{" + hex.EncodeToString(caller[:]) + "}:list"
					}
					held, _, err := c.take(ctx, req, time.Second)
					if err != nil {
						b.Error(err)
					}
					if held.alone {
						alone.Add(1) // the machine is too busy for the client's timeouts
					}
					held.settle(ctx, req, answer, time.Minute)
				}
			})
			b.ReportMetric((busy(b, client)-before)*1e6/float64(b.N), "redis-cpu-µs/op")
			b.ReportMetric(float64(alone.Load())/float64(b.N), "alone/op")
		})
	}
}

// busy is the processor time that the server has used, in seconds.
func busy(b *testing.B, client *redis.Client) (seconds float64) {
	b.Helper()
	said, err := client.Info(context.Background(), "cpu").Result()
	require.NoError(b, err)
	for line := range strings.Lines(said) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name == "used_cpu_user" || name == "used_cpu_sys" {
			n, err := strconv.ParseFloat(value, 64)
			require.NoError(b, err)
			seconds += n
		}
	}
	return seconds
}
