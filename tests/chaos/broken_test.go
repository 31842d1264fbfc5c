package chaos

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/company/order-catalog-service/tests/kit"
)

// patch is a kit.Patch.
type patch struct{ file, from, to string }

// TestTheCheckerFindsABrokenService takes one safeguard at a time out of the service, and the soak must find the promise
// that breaks. It takes minutes: CHAOS_BROKEN=1, or `make soak`, runs it.
func TestTheCheckerFindsABrokenService(t *testing.T) {
	if os.Getenv("CHAOS_BROKEN") == "" {
		t.Skip("CHAOS_BROKEN is not set")
	}
	for _, c := range []struct {
		name    string
		patches []patch
		sql     string // run before the service is used
		promise string
	}{
		{"the key's row is not stored", []patch{{
			"shared/idempotency/store.go",
			"AS k (digest, fingerprint, status, header, body)\nORDER BY digest`",
			"AS k (digest, fingerprint, status, header, body)\nWHERE false ORDER BY digest`",
		}}, "", "P1"},
		{"stock is not looked at under its lock", []patch{
			{"functions/orders/store.go", "WHERE product_id = ANY($1) ORDER BY product_id FOR NO KEY UPDATE`", "WHERE product_id = ANY($1) ORDER BY product_id`"},
		}, "ALTER TABLE inventory DROP CONSTRAINT inventory_available_check", "P2"},
		{"stock is not compared with what is ordered", []patch{
			{"functions/orders/decide.go", "if s.available < int64(w.quantity) {", "if s.available < -1000 {"},
		}, "ALTER TABLE inventory DROP CONSTRAINT inventory_available_check", "P2"},
		{"the drain goes on after the last event that was sent", []patch{{
			"shared/outbox/pass.go",
			"SELECT * FROM outbox WHERE shard = s AND processed_at IS NULL ORDER BY aggregate_id, sequence LIMIT 100",
			"SELECT * FROM outbox WHERE shard = s AND processed_at IS NULL AND id > COALESCE((SELECT max(id::text)::uuid FROM outbox WHERE shard = s AND processed_at IS NOT NULL), '00000000-0000-0000-0000-000000000000') ORDER BY aggregate_id, sequence LIMIT 100",
		}}, "", "P3"},
		{"a delivery's lease has no fence", []patch{
			{"functions/webhooks/verdict.go", "WHERE d.event_id = $1 AND d.endpoint_id = $2 AND d.lease = $3 AND e.id = $2", "WHERE d.event_id = $1 AND d.endpoint_id = $2 AND ($3::uuid IS NOT NULL) AND e.id = $2"},
			{"functions/webhooks/webhooks.go", "{&l.Lease, time.Minute},", "{&l.Lease, 20 * time.Millisecond},"}, // one that ends often within a minute
		}, "", "P4"},
	} {
		t.Run(c.name, func(t *testing.T) {
			half := usual
			half.seed, half.duration = 1, 30*time.Second
			r := soak(t, options{overlay: overlay(t, c.patches), sql: c.sql}, half)
			var found []string
			for _, v := range r.broken {
				if v.Promise == c.promise {
					found = append(found, v.What)
				}
			}
			if assert.NotEmpty(t, found, "%s is broken and nobody saw it; found: %v", c.promise, r.broken) {
				t.Logf("%d violations of %s, the first: %s", len(found), c.promise, found[0])
			}
		})
	}
}

// overlay is the file that tells the compiler of the patches.
func overlay(t *testing.T, patches []patch) string {
	t.Helper()
	var list []kit.Patch
	for _, p := range patches {
		list = append(list, kit.Patch{File: p.file, From: p.from, To: p.to})
	}
	return kit.Overlay(t, "../..", list, nil)
}
