package cache_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/cache"
)

// Many are had with one question for what memory doesn't have; what does not exist is remembered, what was changed is
// asked for again, and old values stand in for a database that is away.
func TestManyAreLoadedWithOneQuestion(t *testing.T) {
	t.Parallel()
	now := newClock()
	c, err := cache.New(cache.Options{Name: "thing", Now: now.Now})
	require.NoError(t, err)
	var asked [][]string
	away := false
	load := func(_ context.Context, missing []string) (map[string]cache.Entry, error) {
		asked = append(asked, missing)
		if away {
			return nil, errors.New("database away")
		}
		found := map[string]cache.Entry{}
		for _, id := range missing {
			if id != "none" {
				found[id] = cache.Entry{Body: []byte(id), Version: 1, Value: id}
			}
		}
		return found, nil
	}
	get := func(ids ...string) map[string]cache.Entry {
		found, err := c.GetMany(ctx, ids, load)
		require.NoError(t, err)
		return found
	}
	assert.Len(t, get("a", "b", "none"), 2)
	assert.Len(t, get("a", "b", "none"), 2)
	assert.Equal(t, "a", get("a")["a"].Value)
	assert.Equal(t, [][]string{{"a", "b", "none"}}, asked)
	one, err := c.Get(ctx, "a", func(context.Context) (cache.Entry, error) { return cache.Entry{}, errors.New("not asked") })
	require.NoError(t, err)
	assert.Equal(t, "a", string(one.Body), "the same memory")

	c.Invalidate(ctx, "b", 1)
	get("a", "b")
	c.Invalidate(ctx, "b", 2)
	get("a", "b")
	assert.Equal(t, []string{"b"}, asked[len(asked)-1], "the changed one alone")

	now.Advance(time.Minute)
	away = true
	assert.Len(t, get("a"), 1, "an old value is better than none")
	_, err = c.GetMany(ctx, []string{"a", "never"}, load)
	assert.Error(t, err)
}
