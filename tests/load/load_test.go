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

func TestMedian(t *testing.T) {
	t.Parallel()
	assert.InDelta(t, 2, median([]float64{9, 1, 2}), 0)
	assert.InDelta(t, 1.5, median([]float64{2, 1}), 0)
}

// A machine that gets slower between rounds says nothing about collectors: each is compared within a round.
func TestTelemetryIsComparedWithinEachRound(t *testing.T) {
	t.Parallel()
	r := &tracingRun{
		rates: map[collector][]float64{none: {1000, 500, 100}, takes: {950, 475, 50}},
		tails: map[collector][]float64{none: {10, 20, 100}, hangs: {11, 22, 500}},
	}
	assert.InDelta(t, 95, r.share(), 1e-9)
	assert.InDelta(t, 1.1, r.tail(), 1e-9)
}

func TestPgbenchLogIsReadInMicroseconds(t *testing.T) {
	t.Parallel()
	r := result{latencies: newHistogram(3)}
	require.NoError(t, readLog(&r, "0 199 2241 0 1175850568 995598\n1 12 500 0 1175850568 998079\n"))
	assert.Equal(t, 2, r.all(good))
	assert.InDelta(t, 2.241, at(r.latencies, 100), 0.002)
	assert.InDelta(t, 0.5, at(r.latencies, 50), 0.001)
	assert.ErrorContains(t, readLog(&r, "0 199 skipped 0 1 2\n"), "has no latency")
}

func TestPgbenchKnowsItsRate(t *testing.T) {
	t.Parallel()
	rate, err := ownRate("number of transactions actually processed: 250\nlatency average = 5.5 ms\ntps = 44.533075 (without initial connection time)\n")
	require.NoError(t, err)
	assert.InDelta(t, 44.533075, rate, 1e-9)
	for _, bad := range []string{"", "\ntps = none\n", "\ntps = 0.0 (without)\n"} {
		_, err := ownRate(bad)
		assert.ErrorContains(t, err, "does not say its rate")
	}
}

func TestLoopCountsAcceptedAndRefusedAnswers(t *testing.T) {
	t.Parallel()
	var served, refused, broken atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		switch served.Add(1) % 10 {
		case 0:
			refused.Add(1)
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write(overload)
		case 1:
			broken.Add(1)
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	defer server.Close()
	c := &customers{count: 1, tokens: [][]byte{[]byte("token")}}
	r, err := closed(t.Context(), target{address: server.Listener.Addr().String(), customers: c}, 4, 200*time.Millisecond, oneProduct)
	require.NoError(t, err)
	assert.EqualValues(t, served.Load()-refused.Load()-broken.Load(), r.all(good))
	assert.EqualValues(t, refused.Load(), r.all(shed))
	assert.EqualValues(t, broken.Load(), r.all(failed))
	assert.Contains(t, r.firstFail, "GET product: 500")
	assert.Positive(t, at(r.latencies, 99))
}

func TestBadFlagsAreRefused(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"--connections", "0"}, {"--duration", "1500ms"}, {"--rounds", "0"}, {"more"}, {"--customers", "0"}, {"--only", "orders,nothing"}, {"--env", "NAME"},
	} {
		assert.Error(t, run(context.Background(), args, nil, new(bytes.Buffer)), args)
	}
}
