package ratelimit

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]Policy{
		"off": nil, "0": nil,
		"100/1m":              {{"checkout", 100, time.Minute}},
		"16777215/24h":        {{"checkout", 16777215, 24 * time.Hour}},
		"100/1m, 1000/1h":     {{"checkout-60s", 100, time.Minute}, {"checkout-3600s", 1000, time.Hour}},
		"1/1s,2/2s,3/3s,4/4s": {{"checkout-1s", 1, time.Second}, {"checkout-2s", 2, 2 * time.Second}, {"checkout-3s", 3, 3 * time.Second}, {"checkout-4s", 4, 4 * time.Second}},
	} {
		got, err := Parse("checkout", text)
		require.NoError(t, err, text)
		assert.Equal(t, want, got, text)
	}
	for _, text := range []string{"", "100", "100/", "/1m", "0/1m", "-1/1m", "1e3/1m", "100/1", "100/1.5s", "100/999ms", "100/25h", "16777216/1m", "1/1s,", "1/1s,1/1s,1/1s,1/1s,1/1s"} {
		_, err := Parse("checkout", text)
		require.Error(t, err, "%q", text)
	}
}

func TestNoPoliciesNoLimit(t *testing.T) {
	t.Parallel()
	l, err := New(Options{Class: "checkout"})
	require.NoError(t, err)
	c := l.Open(uuid.New())
	for _, charge := range []func() error{
		func() error { return c.Take(t.Context()) }, func() error { return c.One(t.Context()) },
		func() error { return c.Enter(t.Context()) }, func() error { return c.Alone(t.Context()) },
		func() error { return c.Replay(t.Context()) }, func() error { return c.Counted(t.Context(), false, "", false) },
	} {
		require.NoError(t, charge())
	}
	c.Mistake()
	c.Returned()
	h := http.Header{}
	c.Fields(h)
	assert.Empty(t, h)
	assert.Zero(t, c.Windows())
	assert.Empty(t, c.Args(c.Keys(nil)))
}

// CX-18: all keys of a caller are in one slot of a cluster, and a caller is a digest that no character reaches into.
func TestCX18KeysCarryTheCallerAsHashTag(t *testing.T) {
	t.Parallel()
	c := limit(t, Options{}, "1/1s,2/1m").Open(uuid.MustParse("00112233-4455-6677-8899-aabbccddeeff"))
	keys := c.Keys(nil)
	require.Len(t, keys, 4)
	seen := map[any]bool{}
	for _, key := range keys {
		assert.True(t, strings.HasPrefix(key.(string), "{00112233445566778899aabbccddeeff}:rate:"), "%s", key)
		seen[key] = true
	}
	assert.Len(t, seen, 4)
	assert.Len(t, c.Args(nil), 12)
}

// RL-05: those who were refused at the same moment come back at several, none too early.
func TestRL05RetryAfterIsSpread(t *testing.T) {
	t.Parallel()
	for _, wait := range []time.Duration{300 * time.Millisecond, 6 * time.Second, time.Hour} {
		e := &RefusedError{Wait: wait}
		seen := map[int64]bool{}
		for range 200 {
			after := e.RetryAfter()
			require.GreaterOrEqual(t, time.Duration(after)*time.Second, wait)
			require.LessOrEqual(t, time.Duration(after)*time.Second, wait+wait/10+4*time.Second)
			seen[after] = true
		}
		assert.GreaterOrEqual(t, len(seen), 3, "%s", wait)
	}
}
