package postgres_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/tests/kit"
)

func TestIDsAreUUIDv7AndSortByTime(t *testing.T) {
	t.Parallel()
	last := time.Date(10889, 8, 2, 0, 0, 0, 0, time.UTC).UnixMilli() // 48 bits of milliseconds end then
	rapid.Check(t, func(t *rapid.T) {
		earlier := rapid.Int64Range(0, last-1).Draw(t, "earlier")
		later := rapid.Int64Range(earlier+1, last).Draw(t, "later")
		a, b := postgres.NewID(time.UnixMilli(earlier)), postgres.NewID(time.UnixMilli(later))
		for id, ms := range map[uuid.UUID]int64{a: earlier, b: later} {
			require.EqualValues(t, 7, id.Version())
			require.Equal(t, uuid.RFC4122, id.Variant())
			sec, nsec := id.Time().UnixTime()
			require.Equal(t, ms, time.Unix(sec, nsec).UnixMilli(), "the first 48 bits are the time")
		}
		require.Negative(t, bytes.Compare(a[:], b[:]))
	})
}

func TestIDsOfOneMillisecondDiffer(t *testing.T) {
	t.Parallel()
	at, seen := time.Now(), make(map[uuid.UUID]bool)
	for range 100_000 {
		id := postgres.NewID(at)
		require.False(t, seen[id])
		seen[id] = true
	}
}

// Partitions are bounded by uuidv7_floor in SQL and ids are made in Go: they must mean the same by a time.
func TestIDsLieBetweenTheDatabasesBounds(t *testing.T) {
	t.Parallel()
	d := kit.NewDatabase(t)
	midnight := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for _, at := range []time.Time{midnight, midnight.Add(-time.Microsecond), midnight.Add(-time.Millisecond), midnight.Add(time.Millisecond)} {
		id := postgres.NewID(at)
		assert.Equal(t, at.Before(midnight), kit.One[bool](t, d, `SELECT $1::uuid < uuidv7_floor($2)`, id, midnight), at)
		assert.True(t, kit.One[bool](t, d, `SELECT $1::uuid >= uuidv7_floor($2)`, id, at.Truncate(time.Millisecond)), at)
	}
}
