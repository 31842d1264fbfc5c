package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/auth"
	"github.com/company/order-catalog-service/tests/kit"
)

// lines collects a logger's output.
type lines struct {
	mu   sync.Mutex
	said bytes.Buffer
}

// Write implements io.Writer.
func (l *lines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.said.Write(line)
}

func (l *lines) read(t *testing.T) (list []map[string]any) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range bytes.Lines(l.said.Bytes()) {
		var entry map[string]any
		require.NoError(t, json.Unmarshal(line, &entry), "%s", line)
		list = append(list, entry)
	}
	return list
}

// A role without timeouts is served all the same, and its operator told once what to run.
func TestRoleWithoutTimeoutsIsWarnedOfOnce(t *testing.T) {
	d := kit.NewDatabase(t)
	const mend = "ALTER ROLE orders_owner SET statement_timeout = '5s'; ALTER ROLE orders_owner SET lock_timeout = '2s'; " +
		"ALTER ROLE orders_owner SET idle_in_transaction_session_timeout = '10s'; ALTER ROLE orders_owner SET jit = 'off'"
	for name, c := range map[string]struct {
		url  string
		want []any
	}{
		"none set": {d.OwnerURL, []any{mend}},
		"all set":  {d.AppURL, nil},
	} {
		t.Run(name, func(t *testing.T) {
			out := &lines{}
			s := connected(t, config{
				DatabaseURL: secret(c.url), MigrationsDatabaseURL: secret(d.OwnerURL), issuers: []auth.Issuer{{URL: "http://127.0.0.1:1", Audiences: []string{"a"}}},
				JWTSigningKey: "0123456789abcdef", PoolOrders: 1, PoolReads: 1, PoolBackground: 1, PoolDrain: 1, AdmissionMin: 16, AdmissionStart: 200, AdmissionMax: 1000, AdmissionTarget: time.Second, AdmissionWait: time.Second,
				WebhookSecret: "0123456789abcdef", ServiceBus: "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=n;SharedAccessKey=k;UseDevelopmentEmulator=true;",
				AcquireTimeout: 10 * time.Second, RequestTimeout: time.Second,
				RateLimitCheckout: "off", RateLimitBrowse: "off", RateLimitRest: "off", RateLimitClients: "off", RateLimitProcesses: 1,
			}, slog.New(slog.NewJSONHandler(out, nil)))
			defer s.close()
			s.checkLimits(context.Background())
			s.bringUp(t.Context())
			select {
			case <-s.started:
			default:
				t.Fatal("it serves nevertheless")
			}
			want := append(c.want, c.want...) // ours, and that of the start
			require.Eventually(t, func() bool { return len(warned(out.read(t))) >= len(want) }, 10*time.Second, 5*time.Millisecond)
			assert.Equal(t, want, warned(out.read(t)))
		})
	}
}

// warned is what the warnings say to run.
func warned(list []map[string]any) (sql []any) {
	for _, entry := range list {
		if statement, ok := entry["sql"]; ok && entry["level"] == "WARN" {
			sql = append(sql, statement)
		}
	}
	return sql
}
