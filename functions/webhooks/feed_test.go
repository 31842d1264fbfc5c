package webhooks_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/functions/webhooks"
	"github.com/company/order-catalog-service/shared/events"
	"github.com/company/order-catalog-service/shared/outbox"
	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/shared/servicebus"
	"github.com/company/order-catalog-service/tests/kit"
)

// page is a page of the feed: the ids of its events, and next.
func (s *shop) page(t testing.TB, query url.Values) (list []string, next string) {
	t.Helper()
	body := s.get(t, "/api/v1/events?"+query.Encode())
	for _, e := range body["events"].([]any) {
		list = append(list, e.(map[string]any)["id"].(string))
	}
	return list, body["next"].(string)
}

func TestFeedPages(t *testing.T) {
	t.Parallel()
	s := open(t, webhooks.Limits{})
	empty, start := s.page(t, nil)
	assert.Empty(t, empty)
	again, same := s.page(t, url.Values{"since": {start}})
	assert.Empty(t, again)
	assert.Equal(t, start, same, "nothing new, the same place")

	var want []string
	for i := range 5 {
		id, m := happened(t, "ada")
		s.published(t, m)
		want = append(want, id.String())
		if i == 0 {
			raw := s.call(t, http.MethodGet, "/api/v1/events", nil)
			assert.Contains(t, string(raw.Body), string(m.Body), "byte for byte")
		}
	}
	s.Exec(t, `UPDATE feed SET type = 'order.cancelled.v1' WHERE number = 3`)
	all, end := s.page(t, nil)
	assert.Equal(t, want, all)
	fromZero, _ := s.page(t, url.Values{"since": {"0"}})
	assert.Equal(t, want, fromZero)
	assert.Regexp(t, `^[0-9A-F]{8}-5$`, end)
	two, next := s.page(t, url.Values{"since": {start}, "limit": {"2"}})
	assert.Equal(t, want[:2], two)
	rest, last := s.page(t, url.Values{"since": {next}})
	assert.Equal(t, want[2:], rest)
	assert.Equal(t, end, last)
	some, passed := s.page(t, url.Values{"types": {"order.cancelled.v1,order.confirmed.v1"}})
	assert.Equal(t, want[2:3], some)
	assert.Equal(t, end, passed, "what was filtered out is behind the reader")
	first, at := s.page(t, url.Values{"types": {"order.created.v1"}, "limit": {"1"}})
	assert.Equal(t, want[:1], first)
	assert.Regexp(t, "-1$", at)
}

// TestCX09SinceCarriesTheTimeline: numbers of another timeline, of the future and of what is no longer kept are told
// apart from an empty page.
func TestCX09SinceCarriesTheTimeline(t *testing.T) {
	t.Parallel()
	s := open(t, webhooks.Limits{})
	for range 3 {
		_, m := happened(t, "ada")
		s.published(t, m)
	}
	_, end := s.page(t, nil)
	timeline := end[:8]
	ask := func(since string) kit.Reply {
		return s.call(t, http.MethodGet, "/api/v1/events?since="+url.QueryEscape(since), nil)
	}
	for since, want := range map[string]int{
		timeline + "-3": 200, timeline + "-0": 200, timeline + "-4": 400, "3": 400, timeline + "-": 400, timeline + "--1": 400, timeline + "-03": 400, "x": 400,
		"0000FFFF-3": 410, "0000FFFF-1": 410,
	} {
		assert.Equal(t, want, ask(since).Status, since)
	}
	s.Exec(t, `DELETE FROM feed WHERE number < 3`)
	for since, want := range map[string]int{timeline + "-1": 410, timeline + "-2": 200, timeline + "-3": 200, "0": 200} {
		assert.Equal(t, want, ask(since).Status, since)
	}
	gone := ask(timeline + "-1").JSON(t)
	assert.Equal(t, "/docs/problems/gone", gone["type"])
	list, _ := s.page(t, url.Values{"since": {gone["oldest"].(string)}})
	assert.Len(t, list, 1, "oldest is where to go on")
	s.Exec(t, `DELETE FROM feed`)
	assert.Equal(t, http.StatusGone, ask(timeline+"-2").Status, "all is gone")
	assert.Equal(t, http.StatusOK, ask(timeline+"-3").Status)
}

// TestCX12TheFeedHasNoGaps: while writers write and four drains send and number, a reader that follows next sees
// every event once, and each aggregate's in order.
func TestCX12TheFeedHasNoGaps(t *testing.T) {
	t.Parallel()
	const writers, aggregates, rounds, drains = 4, 16, 25, 4
	s := open(t, webhooks.Limits{})
	broker := kit.NewBroker(t)
	ctx, stop := context.WithCancel(t.Context())
	var draining, writing sync.WaitGroup
	var nudges []func(...uuid.UUID)
	for range drains {
		d, err := outbox.NewDrain(s.Open(t).Drain, broker.Client(t).Sender(servicebus.TopicOrderEvents), slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		draining.Go(func() { d.Run(ctx) })
		nudges = append(nudges, d.Nudge)
	}
	defer draining.Wait()
	defer stop()
	for w := range writers {
		pools := s.Open(t)
		writing.Go(func() {
			mine := make([]uuid.UUID, aggregates/writers)
			for i := range mine {
				mine[i] = uuid.New()
			}
			for n := range rounds {
				for _, aggregate := range mine {
					now := time.Now()
					assert.NoError(t, pools.Orders.Tx(t.Context(), func(tx pgx.Tx) error {
						return outbox.Insert(t.Context(), tx, events.Event{
							ID: postgres.NewID(now), Type: events.OrderCreated, Aggregate: events.Aggregate{Type: "order", ID: aggregate}, Sequence: int64(n + 1), Time: now,
						})
					}))
					nudges[(w+n)%drains](aggregate)
				}
			}
		})
	}
	seen, next, last := map[string]bool{}, "0", map[string]string{}
	deadline := time.Now().Add(time.Minute)
	for len(seen) < aggregates*rounds {
		require.True(t, time.Now().Before(deadline), "%d of %d events were seen", len(seen), aggregates*rounds)
		body := s.get(t, "/api/v1/events?limit=7&since="+next)
		for _, one := range body["events"].([]any) {
			e := one.(map[string]any)
			id, subject, sequence := e["id"].(string), e["subject"].(string), e["sequence"].(string)
			require.False(t, seen[id], "an event was numbered twice")
			seen[id] = true
			want := "1"
			if before := last[subject]; before != "" {
				want = before
			}
			require.Equal(t, want, sequence, "in order, none missing")
			last[subject] = following(sequence)
		}
		next = body["next"].(string)
	}
	writing.Wait()
}

// following is the decimal number after n.
func following(n string) string {
	number, _ := strconv.Atoi(n)
	return strconv.Itoa(number + 1)
}
