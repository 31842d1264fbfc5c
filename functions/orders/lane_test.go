package orders

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/audit"
	"github.com/company/order-catalog-service/shared/events"
)

// TestAPanicIsToldToWhoeverWaits: nobody waits for ever, and the committer goes on.
func TestAPanicIsToldToWhoeverWaits(t *testing.T) {
	t.Parallel()
	l := &lane{logger: slog.New(slog.DiscardHandler)} // it has no database to go to
	batch := []work{&placement{}, &placement{}}
	for _, w := range batch {
		w.self().done = make(chan outcome, 1)
	}
	require.NotPanics(t, func() { l.do(batch) })
	for _, w := range batch {
		select {
		case o := <-w.self().done:
			require.ErrorContains(t, o.err, "the commit lane failed")
		case <-time.After(time.Second):
			t.Fatal("nobody was told")
		}
	}
}

// TestWhatCannotBeEncodedIsNotCommitted: it fails before anything is sent, or everybody would be told that it was stored.
func TestWhatCannotBeEncodedIsNotCommitted(t *testing.T) {
	t.Parallel()
	for _, d := range []*plan{
		{events: []events.Event{{Data: make(chan int)}}},
		{audit: []audit.Entry{{Details: map[string]any{"x": make(chan int)}}}},
	} {
		assert.Error(t, write(t.Context(), nil, d))
	}
}
