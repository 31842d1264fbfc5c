package cache

import (
	"context"
	"encoding/json"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// In Redis a value is `version|JSON`; a tombstone is `version|`. What is neither,
// left there by somebody else, counts as older than everything, so that the next fill mends it.

// storeScript keeps a value unless a newer one, or a tombstone for a newer one, is there.
var storeScript = redis.NewScript(`
local known = redis.call('GET', KEYS[1])
if known and tonumber(string.match(known, '^(%d+)|') or -1) > tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1] .. '|' .. ARGV[2], 'PX', ARGV[3])
return 1`)

// dropScript replaces a value by a tombstone of the new version, unless the value is that new already.
var dropScript = redis.NewScript(`
local known = redis.call('GET', KEYS[1])
if known and tonumber(string.match(known, '^(%d+)|') or -1) >= tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1] .. '|', 'PX', ARGV[2])
return 1`)

type record struct {
	ETag string    `json:"e"`
	Link string    `json:"l,omitempty"`
	At   time.Time `json:"t"`
	Body []byte    `json:"b"`
}

func (c *Cache) key(id string) string { return c.o.Name + ":" + id }

func (c *Cache) channel(id string) string { return "invalidate:" + c.o.Name + ":" + id }

func (c *Cache) fetch(ctx context.Context, id string) (entry Entry, at time.Time, ok bool) {
	if c.o.Redis == nil {
		return Entry{}, time.Time{}, false
	}
	raw, err := c.o.Redis.Get(ctx, c.key(id)).Result()
	if err != nil {
		if err != redis.Nil { //nolint:errorlint // the library returns the value itself
			c.stats.redisErrors.Add(1)
		}
		return Entry{}, time.Time{}, false
	}
	version, value, _ := strings.Cut(raw, "|")
	var rec record
	if entry.Version, err = strconv.ParseInt(version, 10, 64); err != nil || value == "" || json.Unmarshal([]byte(value), &rec) != nil {
		return Entry{}, time.Time{}, false
	}
	entry.Body, entry.ETag, entry.Link = rec.Body, rec.ETag, rec.Link
	return entry, rec.At, true
}

func (c *Cache) store(ctx context.Context, id string, entry Entry, at time.Time) {
	if c.o.Redis == nil {
		return
	}
	value, err := json.Marshal(record{ETag: entry.ETag, Link: entry.Link, At: at, Body: entry.Body})
	if err == nil {
		err = storeScript.Run(ctx, c.o.Redis, []string{c.key(id)}, entry.Version, value, jittered(c.o.TTL).Milliseconds()).Err()
	}
	if err != nil {
		c.stats.redisErrors.Add(1)
	}
}

// Invalidate says that id has a new version: what is older is dropped here, in Redis, and in every process that
// listens. Call it after the commit. It needs no answer: what is lost is bounded by SoftTTL.
func (c *Cache) Invalidate(ctx context.Context, id string, version int64) {
	c.drop(id, version)
	if c.o.Redis == nil {
		return
	}
	if err := dropScript.Run(ctx, c.o.Redis, []string{c.key(id)}, version, tombstone.Milliseconds()).Err(); err != nil {
		c.stats.redisErrors.Add(1)
	}
	if err := c.o.Redis.Publish(ctx, c.channel(id), version).Err(); err != nil {
		c.stats.redisErrors.Add(1)
	}
}

// Listen drops what other processes invalidate, until ctx ends. Whenever the subscription was interrupted,
// everything in memory counts as old: its message may have been lost.
func (c *Cache) Listen(ctx context.Context) {
	if c.o.Redis == nil {
		return
	}
	prefix := c.channel("")
	sub := c.o.Redis.PSubscribe(ctx, prefix+"*")
	defer func() { _ = sub.Close() }()
	messages := sub.ChannelWithSubscriptions()
	for {
		select {
		case <-ctx.Done():
			return
		case m, ok := <-messages:
			if !ok {
				return
			}
			switch m := m.(type) {
			case *redis.Subscription:
				c.flushed.Store(c.o.Now().UnixNano())
				c.generation.Add(1)
			case *redis.Message:
				version, err := strconv.ParseInt(m.Payload, 10, 64)
				if err != nil {
					version = 1<<63 - 1 // sent by hand, without a version: drop whatever is there
				}
				c.forget(strings.TrimPrefix(m.Channel, prefix), version, err != nil)
			default:
				slog.DebugContext(ctx, "unexpected pub/sub message", "message", m)
			}
		}
	}
}

// forget drops an entry; when no version was told, no tombstone is left that would refuse the next fill.
func (c *Cache) forget(id string, version int64, whole bool) {
	if whole {
		c.memory.Invalidate(id)
		c.flight.Forget(id)
		c.generation.Add(1)
		return
	}
	c.drop(id, version)
}
