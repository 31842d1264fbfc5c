package history_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/tests/history"
)

// world is a small history in which all promises hold, and what the stores have after it: two orders of a product of five
// units, one that was refused with one unit left, a cancellation that freed two, an adjustment, and a cart.
func world() (history.History, history.Truth) {
	s := time.Second
	lines := func(n int) []history.Line { return []history.Line{{Product: "p", Quantity: n}} }
	at := func(client int, op history.Op, key string, begin, end time.Duration, status int) history.Attempt {
		return history.Attempt{Client: client, Op: op, Key: key, Begin: begin, End: end, Status: status, Digest: "of " + key}
	}
	lost := at(0, history.Place, "k1", 0, s, 0)
	lost.Lines, lost.Digest, lost.Error = lines(2), "", "EOF"
	first := at(0, history.Place, "k1", s, 2*s, 201)
	first.Lines, first.Made, first.Replayed = lines(2), "o1", true
	second := at(1, history.Place, "k2", 2*s, 3*s, 201)
	second.Lines, second.Made = lines(2), "o2"
	refused := at(0, history.Place, "k3", 3*s, 4*s, 409)
	refused.Lines, refused.Problem, refused.Short = lines(2), "sold-out", []history.Short{{Product: "p", Available: 1}}
	cancelled := at(1, history.Cancel, "k4", 4*s, 5*s, 200)
	cancelled.Of = "o1"
	more := at(2, history.Stock, "k5", 5*s, 6*s, 200)
	more.Of, more.Lines = "p", lines(3)
	cart := at(2, history.SetCart, "k6", 6*s, 7*s, 200)
	cart.Of, cart.Lines = "c", lines(4)
	probe := at(1, history.Place, "k2", 7*s, 8*s, 201)
	probe.Lines, probe.Made, probe.Replayed, probe.Probe = lines(2), "o2", true, true

	events := []history.Event{
		{ID: "e1", Aggregate: "o1", Type: "order.created.v1", Sequence: 1},
		{ID: "e2", Aggregate: "o2", Type: "order.created.v1", Sequence: 1},
		{ID: "e3", Aggregate: "o1", Type: "order.cancelled.v1", Sequence: 2},
	}
	t := history.Truth{
		Orders: []history.Order{{ID: "o1", Key: "k1", Status: "Cancelled", Lines: lines(2)}, {ID: "o2", Key: "k2", Status: "Pending", Lines: lines(2)}},
		Stock:  map[string]history.Ledger{"p": {Initial: 8, Available: 6, Sold: 2}},
		Outbox: events, Feed: append([]history.Event{}, events...), Topic: append([]history.Event{events[0]}, events...),
		Endpoints: []string{"w"}, Hooks: map[string]bool{"e1": true, "e2": true},
		Deliveries: []history.Delivery{{"e1", "w", "succeeded", 1}, {"e2", "w", "succeeded", 1}, {"e3", "w", "dead", 0}},
		Carts:      map[string][]history.Line{"c": lines(4)},
	}
	return history.History{
		Run:      history.Run{Stock: map[string]int{"p": 5}},
		Attempts: []history.Attempt{lost, first, second, refused, cancelled, more, cart, probe},
	}, t
}

func TestNothingIsBrokenInAGoodRun(t *testing.T) {
	t.Parallel()
	h, truth := world()
	assert.Empty(t, history.Check(h, truth, history.Options{}))
}

// Each case breaks one promise of the good run, as a faulty service would: the checker must say so.
func TestEveryBrokenPromiseIsFound(t *testing.T) {
	t.Parallel()
	type (
		H = history.History
		T = history.Truth
	)
	for name, c := range map[string]struct {
		spoil         func(*H, *T)
		promise, says string
	}{
		"two orders of a key": {func(_ *H, t *T) {
			t.Orders = append(t.Orders, history.Order{ID: "o3", Key: "k2", Status: "Pending", Lines: t.Orders[1].Lines})
		}, "P1", "key k2 has 2 orders"},
		"an order of nobody": {func(_ *H, t *T) {
			t.Orders = append(t.Orders, history.Order{ID: "o3", Key: "x", Status: "Pending", Lines: t.Orders[1].Lines})
		}, "P1", "nobody used"},
		"a repeat with another answer": {func(h *H, _ *T) { h.Attempts[7].Digest = "another" }, "P1", "key k2 (place) was answered 201"},
		"a refusal after a success":    {func(h *H, _ *T) { h.Attempts[7].Status, h.Attempts[7].Problem = 409, "sold-out" }, "P1", "and again"},
		"an answer without an order":   {func(_ *H, t *T) { t.Orders = t.Orders[:1] }, "P1", "does not exist"},
		"another order than answered":  {func(h *H, _ *T) { h.Attempts[1].Made = "o9" }, "P1", "was answered with order o9"},
		"an order after a refusal": {func(_ *H, t *T) {
			t.Orders = append(t.Orders, history.Order{ID: "o3", Key: "k3", Status: "Pending", Lines: t.Orders[1].Lines})
		}, "P1", "was refused"},
		"other lines":           {func(_ *H, t *T) { t.Orders[1].Lines = []history.Line{{Product: "p", Quantity: 3}} }, "P1", "was asked for with"},
		"a cancellation undone": {func(_ *H, t *T) { t.Orders[0].Status = "Pending" }, "P1", "was cancelled by key k4"},
		"cancelled twice":       {func(h *H, _ *T) { a := h.Attempts[4]; a.Key = "k9"; h.Attempts = append(h.Attempts, a) }, "P1", "order o1 was cancelled by key"},
		"oversold":              {func(_ *H, t *T) { t.Stock["p"] = history.Ledger{Initial: 8, Available: -1, Sold: 9} }, "P2", "-1 units left"},
		"a unit lost":           {func(_ *H, t *T) { t.Stock["p"] = history.Ledger{Initial: 8, Available: 5, Sold: 2} }, "P2", "5 are left and 2 sold"},
		"units from nowhere":    {func(_ *H, t *T) { t.Stock["p"] = history.Ledger{Initial: 9, Available: 7, Sold: 2} }, "P2", "its clients put in"},
		"falsely sold out":      {func(h *H, _ *T) { h.Attempts[3].Short[0].Available = 0 }, "P2", "can't be put in any order"},
		"sold before it was there": {func(h *H, t *T) {
			h.Attempts[0].Lines[0].Quantity, h.Attempts[1].Lines[0].Quantity = 6, 6
			t.Orders[0].Lines = []history.Line{{Product: "p", Quantity: 6}}
		}, "P2", "can't be put in any order"},
		"an order without event":    {func(_ *H, t *T) { t.Outbox = t.Outbox[:1] }, "P3", "order o2 has no event"},
		"an event lost on the wire": {func(_ *H, t *T) { t.Topic = t.Topic[:3] }, "P3", "topic: event e3 is missing"},
		"an event not in the feed":  {func(_ *H, t *T) { t.Feed = t.Feed[1:] }, "P3", "feed: event e1 is missing"},
		"twice in the feed":         {func(_ *H, t *T) { t.Feed = append(t.Feed, t.Feed[0]) }, "P3", "in the feed twice"},
		"out of order": {
			func(_ *H, t *T) { t.Topic[0], t.Topic[1], t.Topic[3] = t.Topic[3], t.Topic[2], t.Topic[0] },
			"P3", "came after number 2",
		},
		"two events of one number":  {func(_ *H, t *T) { t.Outbox[2].Sequence = 1 }, "P3", "two events with one sequence"},
		"a delivery forgotten":      {func(_ *H, t *T) { t.Deliveries = t.Deliveries[1:] }, "P4", `at endpoint w is ""`},
		"a delivery that never was": {func(_ *H, t *T) { delete(t.Hooks, "e2") }, "P4", "never answered it well"},
		"delivered twice over":      {func(_ *H, t *T) { t.Deliveries[0].Counted = 2 }, "P4", "by 2 attempts"},
		"a cart that forgot":        {func(_ *H, t *T) { t.Carts["c"][0].Quantity = 1 }, "carts", "the last that was set"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, truth := world()
			c.spoil(&h, &truth)
			var all []string
			for _, v := range history.Check(h, truth, history.Options{}) {
				assert.False(t, v.Undecided())
				all = append(all, v.String())
			}
			found := strings.Join(all, "\n")
			assert.Contains(t, found, c.says)
			assert.Contains(t, found, c.promise+": ")
		})
	}
}

// What nobody heard the end of may have happened or not: both are fine.
func TestWhatIsOpenMayHaveHappenedOrNot(t *testing.T) {
	t.Parallel()
	h, truth := world()
	open := history.Attempt{
		Client: 3, Op: history.Place, Key: "k7", Begin: time.Second, End: 2 * time.Second, Error: "timeout",
		Lines: []history.Line{{Product: "p", Quantity: 1}},
	}
	h.Attempts = append(h.Attempts, open)
	assert.Empty(t, history.Check(h, truth, history.Options{}), "it did not")
	truth.Orders = append(truth.Orders, history.Order{ID: "o7", Key: "k7", Status: "Pending", Lines: open.Lines})
	truth.Stock["p"] = history.Ledger{Initial: 8, Available: 5, Sold: 3}
	e := history.Event{ID: "e7", Aggregate: "o7", Type: "order.created.v1", Sequence: 1}
	truth.Outbox, truth.Feed, truth.Topic = append(truth.Outbox, e), append(truth.Feed, e), append(truth.Topic, e)
	truth.Deliveries, truth.Hooks["e7"] = append(truth.Deliveries, history.Delivery{Event: "e7", Endpoint: "w", Status: "succeeded"}), true
	assert.Empty(t, history.Check(h, truth, history.Options{}), "it did, at some time")
}

func TestAHistoryIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	h, _ := world()
	h.Run.Seed, h.Run.Clients, h.Run.Began = 7, 3, time.Now().UTC()
	h.Faults = []history.Fault{{Kind: "kill", Target: "handler", Begin: 1, End: 2, Note: "n"}}
	var file bytes.Buffer
	log := history.NewLog(&file, history.Run{Seed: 7, Clients: 3, Began: h.Run.Began})
	log.Products(h.Run.Stock)
	for _, a := range h.Attempts {
		log.Add(a)
	}
	log.Hurt(h.Faults[0])
	require.NoError(t, log.Close())
	assert.Equal(t, len(h.Attempts), log.Attempts())
	back, err := history.Read(bytes.NewReader(file.Bytes()))
	require.NoError(t, err)
	assert.Equal(t, h, back)
	_, err = history.Read(strings.NewReader(file.String() + "{"))
	require.ErrorContains(t, err, "line 12")
}
