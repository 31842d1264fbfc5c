package idempotency

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/go-redsync/redsync/v4"
	"github.com/redis/go-redis/v9"
)

// claims are the layers outside the process: what Redis knows of a key, and the RedLock. Whatever they say or
// fail to say, the row decides; so every failure here means "go on".
type claims struct {
	client   *redis.Client    // nil: no Redis
	locks    *redsync.Redsync // nil: no RedLock
	timeline func() string
	metrics  metrics
}

// A claim's value starts with 'C', an answer's with 'A'.
const (
	claimMark  = 'C'
	answerMark = 'A'
)

// claimSize is the length of a claim: its mark, its owner, and the request's fingerprint.
const claimSize = 1 + 16 + sha256.Size

// takeScript returns what is known of the key, or claims it: one round trip.
var takeScript = redis.NewScript(`
local known = redis.call('GET', KEYS[1])
if known then return known end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return false`)

// releaseScript drops a claim only while it is still its owner's.
var releaseScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0`)

// claim is this request's hold on its key; the zero value holds nothing.
type claim struct {
	set   *claims
	key   string
	value string
	mutex *redsync.Mutex
}

// take asks Redis about the key. known is a stored answer. A claim lives for the work's timeout and a second:
// an owner that died blocks its key no longer than that.
func (c *claims) take(ctx context.Context, req Request, timeout time.Duration) (claim, *Answer, error) {
	var held claim
	if c.client != nil {
		key := c.redisKey(req)
		value := newClaim(req)
		known, err := takeScript.Run(ctx, c.client, []string{key}, value, (timeout + time.Second).Milliseconds()).Text()
		switch {
		case err == nil && known != "":
			answer, err := readKnown(known, req)
			return claim{}, answer, err
		case errors.Is(err, redis.Nil):
			held = claim{set: c, key: key, value: value}
		case err != nil:
			slog.DebugContext(ctx, "idempotency claim not taken", "error", err)
		}
	}
	if c.locks == nil {
		return held, nil, nil
	}
	digest := req.Digest()
	mutex := c.locks.NewMutex("redlock:"+hex.EncodeToString(digest[:]),
		redsync.WithTries(1), redsync.WithExpiry(timeout+time.Second))
	started := time.Now()
	err := mutex.LockContext(ctx)
	var taken *redsync.ErrTaken
	c.metrics.locked(ctx, err, errors.As(err, &taken), time.Since(started))
	switch {
	case err == nil:
		held.set, held.mutex = c, mutex
	case errors.As(err, &taken):
		held.release(ctx)
		return claim{}, nil, ErrInFlight
	}
	return held, nil, nil
}

// readKnown turns a value into an answer, or says why there is none yet.
func readKnown(known string, req Request) (*Answer, error) {
	if known[0] == claimMark && len(known) == claimSize {
		if known[claimSize-len(req.Fingerprint):] != string(req.Fingerprint[:]) {
			return nil, ErrKeyReused
		}
		return nil, ErrInFlight
	}
	var rec record
	if known[0] != answerMark || json.Unmarshal([]byte(known[1:]), &rec) != nil {
		return nil, nil //nolint:nilerr,nilnil // nothing that we wrote: as if it were not there, the row decides
	}
	answer, err := rec.answer(req.Fingerprint)
	if err != nil {
		return nil, err
	}
	return &answer, nil
}

// settle replaces the claim by the answer, for what is left of its row's life.
func (c claim) settle(ctx context.Context, req Request, a Answer, left time.Duration) {
	if c.set == nil {
		return
	}
	if req.Sealed {
		// Redis keeps no secret, not even an encrypted one: repeats of this key are answered by the row.
		c.release(ctx)
		return
	}
	if c.key != "" && left > time.Second {
		rec, err := json.Marshal(record{
			Fingerprint: req.Fingerprint[:], Status: a.Status, Body: a.Body,
			Header: header{ContentType: a.ContentType, Location: a.Location, ETag: a.ETag},
		})
		if err == nil {
			err = c.set.client.Set(ctx, c.key, string(answerMark)+string(rec), left).Err()
		}
		if err != nil {
			slog.DebugContext(ctx, "answer not cached", "error", err)
		}
	}
	c.unlock(ctx)
}

// release gives the key back, as nothing was stored under it.
func (c claim) release(ctx context.Context) {
	if c.set == nil {
		return
	}
	if c.key != "" {
		if err := releaseScript.Run(ctx, c.set.client, []string{c.key}, c.value).Err(); err != nil {
			slog.DebugContext(ctx, "idempotency claim not released", "error", err)
		}
	}
	c.unlock(ctx)
}

func (c claim) unlock(ctx context.Context) {
	if c.mutex == nil {
		return
	}
	if _, err := c.mutex.UnlockContext(ctx); err != nil {
		slog.DebugContext(ctx, "redlock not released", "error", err)
	}
}

// redisKey carries the caller as hash tag, as all keys of one request do, and the timeline: after a failover to
// a replica that lacked the last writes, answers of the old primary are not believed.
func (c *claims) redisKey(req Request) string {
	digest := req.Digest()
	return "{" + hex.EncodeToString(req.Caller[:]) + "}:idem:" + c.timeline() + ":" + hex.EncodeToString(digest[:])
}

// newClaim is 'C', sixteen bytes that name the owner, and the fingerprint.
func newClaim(req Request) string {
	b := make([]byte, 17, claimSize)
	b[0] = claimMark
	_, _ = rand.Read(b[1:]) // never fails: crypto/rand aborts the program rather than return an error
	return string(append(b, req.Fingerprint[:]...))
}
