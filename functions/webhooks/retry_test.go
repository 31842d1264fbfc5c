package webhooks

import (
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/egress"
)

// TestWH06TheStandardSchedule: ten attempts in about 76 hours, each pause within its jitter and not all alike.
func TestWH06TheStandardSchedule(t *testing.T) {
	t.Parallel()
	l := Limits{}.orDefaults()
	var total time.Duration
	for round := 1; round <= 9; round++ {
		shortest, longest := time.Duration(1<<62), time.Duration(0)
		for range 200 {
			d, more := l.next(round, outcome{})
			require.True(t, more)
			shortest, longest = min(shortest, d), max(longest, d)
		}
		base := l.Schedule[round-1]
		assert.GreaterOrEqual(t, shortest, base*9/10)
		assert.LessOrEqual(t, longest, base*11/10)
		assert.Greater(t, longest-shortest, base/10, "jitter")
		total += base
	}
	_, more := l.next(10, outcome{})
	assert.False(t, more, "the tenth attempt is the last")
	assert.InDelta(t, 76, total.Hours(), 1)
}

func TestWH05BothFormsOfRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "0": 0, "120": 2 * time.Minute, " 120 ": 2 * time.Minute, "86400": 24 * time.Hour, "86401": 24 * time.Hour, "18446744073709551615": 24 * time.Hour,
		"Tue, 24 Nov 2026 12:02:00 GMT": 2 * time.Minute, "Tue, 24 Nov 2026 11:00:00 GMT": 0, "Tue, 24 Nov 2099 12:00:00 GMT": 24 * time.Hour,
		"Tuesday, 24-Nov-26 12:02:00 GMT": 2 * time.Minute, "-5": 0, "soon": 0, "1.5": 0,
	} {
		assert.Equal(t, want, retryAfter(value, now), "%q", value)
	}
}

func TestPausesGrow(t *testing.T) {
	t.Parallel()
	for failures, want := range map[int]time.Duration{
		1: 0, 4: 0, 5: 30 * time.Second, 6: time.Minute, 9: 8 * time.Minute, 10: 10 * time.Minute, 1000: 10 * time.Minute,
	} {
		assert.Equal(t, want, pause(failures, outcome{kind: failed}), "%d failures", failures)
	}
	assert.Equal(t, 30*time.Second, pause(1, outcome{kind: throttled}))
	assert.Equal(t, time.Hour, pause(1, outcome{kind: throttled, retryAfter: time.Hour}))
}

// TestOurOwnLimitsAreNoFailure of the endpoint's.
func TestOurOwnLimitsAreNoFailure(t *testing.T) {
	t.Parallel()
	now := time.Now()
	assert.Equal(t, notMade, judge(egress.Result{}, &egress.Error{Reason: egress.ErrBusy}, now).kind)
	assert.Equal(t, failed, judge(egress.Result{}, &egress.Error{Reason: egress.ErrTimeout}, now).kind)
	broken := judge(egress.Result{Status: http.StatusOK}, &egress.Error{Reason: egress.ErrTimeout}, now)
	assert.Equal(t, failed, broken.kind, "an answer that never ended was none")
	assert.Equal(t, http.StatusOK, *broken.status)
}

func TestExcerptsAreCutBetweenCharacters(t *testing.T) {
	t.Parallel()
	o := judge(egress.Result{Status: 200, Excerpt: "x" + strings.Repeat("ж", 2000)}, nil, time.Now())
	assert.Len(t, o.excerpt, maxExcerpt-1)
	assert.True(t, utf8.ValidString(o.excerpt))
}

func TestDeliveryIDsAreReversible(t *testing.T) {
	t.Parallel()
	event, endpoint := uuid.New(), uuid.New()
	id := deliveryID(event, endpoint)
	assert.Len(t, id, 43)
	a, b, ok := parseDeliveryID(id)
	assert.True(t, ok)
	assert.Equal(t, []uuid.UUID{event, endpoint}, []uuid.UUID{a, b})
	for _, bad := range []string{"", id[:42], id + "A", id + "\n", id[:20] + "\r\n" + id[20:], strings.Repeat("!", 43), id[:42] + "="} {
		_, _, ok := parseDeliveryID(bad)
		assert.False(t, ok, bad)
	}
}

// TestNobodyIsTurnedAwayForNothing: who finds all seats taken is heard by a worker that is about to leave; it looks
// again, and only then leaves.
func TestNobodyIsTurnedAwayForNothing(t *testing.T) {
	t.Parallel()
	b, endpoint := newBulkhead(10, 2), uuid.New()
	first, second := b.enter(endpoint), b.enter(endpoint)
	require.NotNil(t, first)
	require.NotNil(t, second)
	require.NotNil(t, b.enter(uuid.New()), "another endpoint has its own seats")
	require.Nil(t, b.enter(endpoint))
	assert.False(t, first.done(), "somebody came: look again")
	assert.True(t, first.done())
	first.leave() // the second time it does nothing
	third := b.enter(endpoint)
	require.NotNil(t, third)
	require.Nil(t, b.enter(endpoint))
	second.leave()
	assert.False(t, third.done())
	assert.True(t, third.done())
	assert.Len(t, b.seats, 1, "an endpoint without workers takes no memory")
}
