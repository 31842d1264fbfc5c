package ratelimit

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A request that counts for several calls is charged with all of them or none, in Redis and without it.
func TestARequestOfSeveralCallsIsChargedWhole(t *testing.T) {
	t.Parallel()
	lane, server := clocked(t)
	now := start
	server.SetTime(now)
	for name, o := range map[string]Options{"leased": {Lane: lane, Leased: true}, "alone": {}} {
		o.Now = func() time.Time { return now }
		l, caller := limit(t, o, "100/1m"), uuid.New()
		take := func(calls int) error { return l.Open(caller).TakeAll(t.Context(), calls) }
		for range 9 {
			require.NoError(t, take(10), name)
		}
		var refused *RefusedError
		require.ErrorAs(t, take(11), &refused, name)
		assert.NotEmpty(t, refused.Policies, name)
		require.ErrorAs(t, take(101), &refused, "more than there ever is: %s", name)
		admitted := 0
		for take(1) == nil {
			admitted++
		}
		assert.LessOrEqual(t, admitted, 12, name)
		if name == "alone" {
			assert.Equal(t, 10, admitted, "what was refused took nothing")
		}
	}
}
