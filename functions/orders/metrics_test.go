package orders

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// measured is what the lane's metrics show: a counter's or gauge's value, of a histogram how many values and their sum
// after "/count" and "/sum". What has a kind has it after a colon.
func measured(t *testing.T, reader *metric.ManualReader) map[string]float64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &all))
	values := make(map[string]float64)
	name := func(name string, set attribute.Set) string {
		if kind, ok := set.Value("kind"); ok {
			name += ":" + kind.AsString()
		}
		return name
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					values[name(m.Name, p.Attributes)] = float64(p.Value)
				}
			case metricdata.Gauge[int64]:
				for _, p := range data.DataPoints {
					values[name(m.Name, p.Attributes)] = float64(p.Value)
				}
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					values[name(m.Name, p.Attributes)+"/count"] = float64(p.Count)
					values[name(m.Name, p.Attributes)+"/sum"] = p.Sum
				}
			}
		}
	}
	return values
}

func TestTheLaneIsMeasured(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	reader := metric.NewManualReader()
	require.NoError(t, b.lane.watch(metric.NewMeterProvider(metric.WithReader(reader)).Meter("test")))
	product := b.Product(t, 10)
	mine := idOf(t, b.commit(t, b.order(product, 1))[0])

	// A batch of three, of which one can't be stored: it is committed one by one.
	b.Exec(t, `ALTER TABLE orders ADD CONSTRAINT no_eve CHECK (customer_id <> 'eve')`)
	good, bad, back := b.order(product, 1), b.order(product, 1), b.back(t, mine)
	bad.customerID = "eve"
	batch := []work{good, bad, back}
	for _, w := range batch {
		w.self().came = time.Now().Add(-time.Minute)
	}
	b.lane.do(batch)
	require.Error(t, (<-bad.done).err)
	assert.Equal(t, http.StatusCreated, (<-good.done).answer.Status)
	assert.Equal(t, http.StatusOK, (<-back.done).answer.Status)

	// Two whose callers have gone.
	late, lateBack := b.order(product, 1), b.back(t, mine)
	for _, w := range []work{late, lateBack} {
		w.self().deadline = time.Now().Add(-time.Second)
	}
	b.lane.do([]work{late, lateBack})

	// Three that find the lane full.
	b.lane.waiting, b.lane.working = slices.Repeat([]work{b.order(product, 1)}, maxWaiting), committers
	for _, w := range []work{b.order(product, 1), b.order(product, 1), b.back(t, mine)} {
		_, _, err := b.lane.commit(t.Context(), w)
		require.ErrorIs(t, err, errLaneFull)
	}

	got := measured(t, reader)
	for name, want := range map[string]float64{
		"order_lane_batch_size/count": 4, "order_lane_batch_size/sum": 6,
		"order_lane_commit_seconds/count":     4,
		"order_lane_wait_seconds:place/count": 4, "order_lane_wait_seconds:cancel/count": 2,
		"order_lane_fallbacks_total":     1,
		"order_lane_expired_total:place": 1, "order_lane_expired_total:cancel": 1,
		"order_lane_full_total:place": 2, "order_lane_full_total:cancel": 1,
		"order_lane_depth": maxWaiting, "stock_hot_queue_depth": maxWaiting,
	} {
		assert.InDelta(t, want, got[name], 0, name)
	}
	assert.Greater(t, got["order_lane_commit_seconds/sum"], 0.0)
	assert.InDelta(t, 2*time.Minute.Seconds(), got["order_lane_wait_seconds:cancel/sum"], 30)
}
