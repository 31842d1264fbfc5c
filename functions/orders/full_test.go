package orders

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/shared/servicebus"
	"github.com/company/order-catalog-service/tests/kit"
)

func TestALongLineIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	pools, err := postgres.Open(t.Context(), "postgres://nobody@127.0.0.1:1/nothing", postgres.Budget{Orders: 1, Acquire: time.Second})
	require.NoError(t, err)
	defer pools.Close()
	l := &lane{pool: pools.Orders, working: committers, waiting: make([]work, maxWaiting)}
	require.NoError(t, l.watch(noop.Meter{}))
	_, _, err = l.commit(t.Context(), &placement{})
	assert.ErrorIs(t, err, errLaneFull)
}

// What is expected is what the next in line has waited, and nothing when there is no line.
func TestTheWaitIsWhatTheNextInLineHasWaited(t *testing.T) {
	t.Parallel()
	l := &lane{}
	assert.Zero(t, l.delay())
	l.waiting = []work{&placement{job: job{came: time.Now().Add(-time.Minute)}}, &placement{job: job{came: time.Now()}}}
	assert.InDelta(t, time.Minute.Seconds(), l.delay().Seconds(), 10)
}

// The lane is full, or those in it wait for too long: with the setting an order is queued, without it refused, and a
// cancellation is refused, as only orders can be queued. The lane goes on, and the order is placed.
func TestAnOrderThatTheLaneHasNoTimeForIsQueued(t *testing.T) {
	t.Parallel()
	inLine := func(n int, came time.Time) []work {
		list := make([]work, n)
		for i := range list {
			list[i] = &placement{job: job{came: came}}
		}
		return list
	}
	for name, c := range map[string]struct {
		after   time.Duration
		waiting []work
		status  int
	}{
		"full":                    {time.Hour, inLine(maxWaiting, time.Now()), http.StatusAccepted},
		"full, off":               {0, inLine(maxWaiting, time.Now()), http.StatusServiceUnavailable},
		"a long wait":             {time.Minute, inLine(1, time.Now().Add(-2*time.Minute)), http.StatusAccepted},
		"not long enough to tell": {time.Hour, nil, http.StatusCreated},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			sent := make(chan servicebus.Message, 10)
			b.QueueAfter = c.after
			b.Send = func(_ context.Context, list []servicebus.Message) (int, error) {
				sent <- list[0]
				return 1, nil
			}
			product, token := b.Product(t, 10), b.Token(t, "ada", kit.Everything)
			ask := kit.Call{Method: http.MethodPost, Path: base, Token: token, Key: "k", Body: Draft{
				CustomerID: "ada", ShippingAddress: Address{Name: "Ada", Line1: "1 Main St", City: "Austin", PostalCode: "73301", Country: "US"},
				Lines: []DraftLine{{ProductID: product, Quantity: 2}},
			}}
			before := idOf(t, b.commit(t, b.order(product, 1))[0])
			fill := func(waiting []work, working int) {
				b.lane.mu.Lock()
				defer b.lane.mu.Unlock()
				b.lane.waiting, b.lane.working = waiting, working
			}
			if c.waiting != nil {
				fill(c.waiting, committers) // none of which is at work
			}
			got := b.Do(t, ask)
			require.Equal(t, c.status, got.Status, "%s", got.Body)
			assert.Empty(t, got.Header.Get("Preference-Applied"))
			if len(c.waiting) == maxWaiting {
				cancel := kit.Call{Method: http.MethodPatch, Path: base + "/" + before.String() + "/cancel", Token: b.Token(t, "boss", kit.Everything, "admin"), Key: "c", Body: map[string]string{"reason": "no"}}
				assert.Equal(t, http.StatusServiceUnavailable, b.Do(t, cancel).Status)
			}
			if c.waiting != nil {
				fill(nil, 0)
			}
			if c.status == http.StatusAccepted {
				require.Len(t, sent, 1)
				require.NoError(t, b.PlaceQueued(t.Context(), []servicebus.Received{{Body: (<-sent).Body}}))
			}
			assert.Empty(t, sent)
			assert.Equal(t, http.StatusCreated, b.Do(t, ask).Status)
			assert.Equal(t, 7, b.stock(t, "available", product))
		})
	}
}

// The time of acceptance is the database's, however wrong this instance's own time of day is (CX-19), and runs on.
func TestCX19TheTimeOfAcceptanceIsTheDatabases(t *testing.T) {
	t.Parallel()
	var c databaseClock
	_, seen := c.now()
	assert.False(t, seen)
	shown := time.Date(1999, 12, 31, 0, 0, 0, 0, time.UTC)
	c.saw(shown)
	c.last.Load().at = c.last.Load().at.Add(-time.Hour) // an hour passes
	now, seen := c.now()
	assert.True(t, seen)
	assert.WithinRange(t, now, shown.Add(time.Hour), shown.Add(time.Hour+time.Minute))

	b := newBench(t)
	b.QueueAfter = time.Minute
	b.clock.saw(shown)
	_, err := b.acceptBlindly(t.Context())
	require.Error(t, err, "there is no Redis to keep a ticket")
	b.Orders.Redis = b.Redis
	at, err := b.acceptBlindly(t.Context())
	require.NoError(t, err)
	assert.WithinRange(t, at, shown, shown.Add(time.Minute))
}
