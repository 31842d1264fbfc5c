package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPercentilesAreThoseOfTheAcceptedAnswers(t *testing.T) {
	t.Parallel()
	var latencies []time.Duration
	for i := 100; i > 0; i-- {
		latencies = append(latencies, time.Duration(i)*time.Millisecond)
	}
	r, err := summarize(latencies, 3, 2*time.Second)
	require.NoError(t, err)
	assert.Equal(t, result{rate: 50, p50: 50, p95: 95, p99: 99, accepted: 100, refused: 3}, r)
	_, err = summarize(nil, 3, time.Second)
	assert.ErrorContains(t, err, "nothing succeeded, 3 refused")
}

func TestMedian(t *testing.T) {
	t.Parallel()
	assert.InDelta(t, 2, median([]float64{9, 1, 2}), 0)
	assert.InDelta(t, 1.5, median([]float64{2, 1}), 0)
}

func TestPgbenchLogIsReadInMicroseconds(t *testing.T) {
	t.Parallel()
	latencies, err := readLog(nil, "0 199 2241 0 1175850568 995598\n1 12 500 0 1175850568 998079\n")
	require.NoError(t, err)
	assert.Equal(t, []time.Duration{2241 * time.Microsecond, 500 * time.Microsecond}, latencies)
	_, err = readLog(nil, "0 199 skipped 0 1 2\n")
	assert.ErrorContains(t, err, "has no latency")
}

func TestLoopCountsAcceptedAndRefusedAnswers(t *testing.T) {
	t.Parallel()
	var served, refused atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if served.Add(1)%10 == 0 {
			refused.Add(1)
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	r, err := loop(t.Context(), options{connections: 4, duration: 200 * time.Millisecond}, http.StatusOK, func(int) (*http.Request, error) {
		return http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
	})
	require.NoError(t, err)
	assert.Equal(t, int(served.Load()-refused.Load()), r.accepted)
	assert.Equal(t, int(refused.Load()), r.refused)
	assert.Positive(t, r.p99)
}

func TestBadFlagsAreRefused(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--connections", "0"}, {"--duration", "1500ms"}, {"--rounds", "0"}, {"more"}} {
		assert.Error(t, run(context.Background(), args, nil, new(bytes.Buffer)), args)
	}
}
