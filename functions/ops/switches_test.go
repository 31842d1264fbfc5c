package ops_test

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/functions/ops"
	"github.com/company/order-catalog-service/tests/kit"
)

func (d *desk) turn(t *testing.T, token, name, key string, on bool) kit.Reply {
	t.Helper()
	return d.Do(t, kit.Call{Method: http.MethodPut, Path: base + "/switches/" + name, Token: token, Key: key, Body: map[string]any{"on": on}})
}

// A switch acts here at once and in every other process within seconds, says who turned it and when, and nobody but an
// administrator can.
func TestASwitchIsFollowedEverywhere(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	sibling := kit.NewAPIOn(t, d.Database, d.API)
	var there atomic.Bool
	other, err := ops.New(ops.Options{
		API: sibling.REST, Pools: sibling.Pools, Keys: sibling.Keys, Cursors: sibling.Cursors, Logger: slog.New(slog.DiscardHandler), Metrics: http.NotFoundHandler(),
		Switches: map[string]ops.Switch{"brake": {Title: "Stops it", Turn: there.Store}},
	})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	followed := make(chan struct{})
	go func() { defer close(followed); other.Follow(ctx) }()
	t.Cleanup(func() { stop(); <-followed })

	var list ops.SwitchList
	d.get(t, "/switches", &list)
	assert.Equal(t, []ops.SwitchState{{Name: "brake", Title: "Stops it"}}, list.Items, "off until somebody turns it")

	first := d.turn(t, d.admin, "brake", "turn-1", true)
	require.Equal(t, http.StatusOK, first.Status, "%s", first.Body)
	assert.True(t, d.brake.Load(), "here at once")
	require.Eventually(t, there.Load, 10*time.Second, 20*time.Millisecond, "there soon")
	d.get(t, "/switches", &list)
	assert.True(t, list.Items[0].On)
	assert.Equal(t, "operator", list.Items[0].ChangedBy)
	assert.WithinDuration(t, time.Now(), *list.Items[0].ChangedAt, time.Minute)

	require.Equal(t, http.StatusOK, d.turn(t, d.admin, "brake", "turn-2", false).Status)
	require.Eventually(t, func() bool { return !there.Load() }, 10*time.Second, 20*time.Millisecond)
	again := d.turn(t, d.admin, "brake", "turn-1", true)
	assert.Equal(t, first.Body, again.Body)
	assert.False(t, d.brake.Load(), "a repeat of an old request turns nothing")

	assert.Equal(t, http.StatusNotFound, d.turn(t, d.admin, "other", "turn-3", true).Status)
	assert.Equal(t, http.StatusForbidden, d.turn(t, d.Token(t, "ada", kit.Everything), "brake", "turn-4", true).Status)
	assert.False(t, d.brake.Load())
}

// A look that read before a switch was turned does not undo it, however late it ends.
func TestALookUndoesNoTurn(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	var looking sync.WaitGroup
	var over atomic.Bool
	for range 4 {
		looking.Go(func() {
			for !over.Load() {
				assert.NoError(t, d.ops.Look(t.Context()))
			}
		})
	}
	for i := range 200 {
		on := i%2 == 0
		got := d.turn(t, d.admin, "brake", "turn-"+strconv.Itoa(i), on)
		if !assert.Equal(t, http.StatusOK, got.Status, "%s", got.Body) {
			break
		}
		undone := false
		for end := time.Now().Add(3 * time.Millisecond); time.Now().Before(end); {
			undone = undone || d.brake.Load() != on
		}
		if !assert.False(t, undone, "turn %d was undone", i) {
			break
		}
	}
	over.Store(true)
	looking.Wait()
}
