package secrets_test

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/secrets"
	"github.com/company/order-catalog-service/tests/kit"
)

// clock is a time that a test moves.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// journal is a log that can be read while it is written.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(line []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(line)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

const every = 5 * time.Minute

// options are of a process that may read the vault.
func options(t *testing.T, a *kit.Azure, names ...string) secrets.Options {
	t.Helper()
	identity, err := secrets.Identity(a.ClientID)
	require.NoError(t, err)
	return secrets.Options{
		URL: a.VaultURL, Credential: identity, Transport: a.Transport, Names: names, Every: every, Wait: 5 * time.Second,
		Logger: slog.New(slog.DiscardHandler),
	}
}

func open(t *testing.T, a *kit.Azure, names ...string) *secrets.Store {
	t.Helper()
	s, err := secrets.Open(t.Context(), options(t, a, names...))
	require.NoError(t, err)
	return s
}

// run has the store look at the vault until the test ends.
func run(t *testing.T, s *secrets.Store) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
}

func texts(keys [][]byte) (list []string) {
	for _, k := range keys {
		list = append(list, string(k))
	}
	return list
}

// ago is a time in the past, long enough for versions to have settled.
func ago(d time.Duration) time.Time { return time.Now().Add(-d) }
