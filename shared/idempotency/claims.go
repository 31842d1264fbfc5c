package idempotency

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/go-redsync/redsync/v4"
	"github.com/redis/go-redis/v9"

	"github.com/company/order-catalog-service/shared/ratelimit"
	sharedredis "github.com/company/order-catalog-service/shared/redis"
)

// claims are the layers outside the process: what Redis knows of a key, and the RedLock. Whatever they say or
// fail to say, the row decides; so every failure here means "go on".
type claims struct {
	lane     *sharedredis.Lane // nil: no Redis
	locks    *redsync.Redsync  // nil: no RedLock
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

// takeScript is the way in: what is known of the key, else the rate limit, else a claim, in one round trip. What it
// returns begins with one of the marks below and how the caller stands (see ratelimit.Script); what is known of the key
// follows on the next line. A refused call claims nothing and counts nothing.
//
// A repeat holds what its write would: the write may have been done a moment ago by who died before it could say so.
//
// KEYS are the key, then n windows of the quota and n of the replays, and what is to be held, if anything. ARGV are the
// claim, its life in milliseconds, n, and three numbers for each window.
var takeScript = sharedredis.NewScript(ratelimit.Script + `
local n = tonumber(ARGV[3])
local held = KEYS[2 + 2 * n]
local known = redis.call('GET', KEYS[1])
if known then
  local granted, standings = charge(2 + n, 4 + 3 * n, n, 1)
  if granted == 0 then return 'r' .. standings end
  if held then redis.call('SET', held, '` + HoldMark + `', 'PX', ARGV[2]) end
  return 'K' .. standings .. '\n' .. known
end
local granted, standings = charge(2, 4, n, 1)
if granted == 0 then return 'R' .. standings end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
if held then redis.call('SET', held, '` + HoldMark + `', 'PX', ARGV[2]) end
return 'N' .. standings`)

// What takeScript has done.
const (
	markNew            = 'N' // claimed
	markKnown          = 'K' // charged as a replay: what is known of the key follows
	markRefused        = 'R' // the quota is used up
	markReplaysRefused = 'r' // the budget of replays is
)

// releaseScript drops a claim only while it is still its owner's.
var releaseScript = sharedredis.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return ''`)

// claim is this request's hold on its key; the zero value holds nothing.
type claim struct {
	set   *claims
	key   string
	value string
	alone bool // Redis was not asked or did not answer: this process charged the call by itself
	mutex *redsync.Mutex
}

// take charges the call and asks Redis about its key. known is a stored answer. A claim lives for the work's timeout and
// a second: an owner that died blocks its key no longer than that.
func (c *claims) take(ctx context.Context, req Request, timeout time.Duration) (held claim, known *Answer, err error) {
	held, known, err = c.ask(ctx, req, timeout+time.Second)
	if err != nil || known != nil || c.locks == nil {
		return held, known, err
	}
	held, err = c.lock(ctx, req, timeout, held)
	return held, nil, err
}

// ask is the round trip to Redis.
func (c *claims) ask(ctx context.Context, req Request, life time.Duration) (claim, *Answer, error) {
	if c.lane == nil {
		return claim{alone: true}, nil, req.Charge.Alone(ctx)
	}
	key, value := c.redisKey(req), newClaim(req)
	n := req.Charge.Windows()
	keys := 1 + 2*n
	if req.Hold != "" {
		keys++
	}
	words := req.Charge.Keys(append(takeScript.Words(keys, 5+8*n), key))
	if req.Hold != "" {
		words = append(words, req.Hold)
	}
	words = append(words, value, life.Milliseconds(), n)
	said, err := takeScript.Run(ctx, c.lane, req.Charge.Args(words))
	if err != nil || said == "" {
		if req.Lost != nil {
			req.Lost()
		}
		slog.DebugContext(ctx, "idempotency claim not taken", "error", err)
		return claim{alone: true}, nil, req.Charge.Alone(ctx)
	}
	standings, about, _ := strings.Cut(said[1:], "\n")
	switch said[0] {
	case markNew:
		return claim{set: c, key: key, value: value}, nil, req.Charge.Counted(ctx, true, standings, false)
	case markRefused:
		return claim{}, nil, req.Charge.Counted(ctx, false, standings, false)
	case markReplaysRefused:
		return claim{}, nil, req.Charge.Counted(ctx, false, standings, true)
	default: // markKnown
		if err := req.Charge.Counted(ctx, true, standings, true); err != nil {
			return claim{}, nil, err
		}
		answer, err := readKnown(about, req)
		return claim{}, answer, err
	}
}

// mayBeReplay tells whether a call that this process refused by itself, as Redis does not answer, is worth a look at its
// row. The look is charged to the budget of replays.
func (c claim) mayBeReplay(ctx context.Context, req Request, err error) bool {
	var refused *ratelimit.RefusedError
	return c.alone && errors.As(err, &refused) && req.Charge.Replay(ctx) == nil
}

// lock takes the RedLock.
func (c *claims) lock(ctx context.Context, req Request, timeout time.Duration, held claim) (claim, error) {
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
		return claim{}, ErrInFlight
	}
	return held, nil
}

// readKnown turns a value into an answer, or says why there is none yet.
func readKnown(known string, req Request) (*Answer, error) {
	if len(known) == claimSize && known[0] == claimMark {
		if known[claimSize-len(req.Fingerprint):] != string(req.Fingerprint[:]) {
			return nil, ErrKeyReused
		}
		return nil, ErrInFlight
	}
	fingerprint, answer, ok := unpack(known)
	if !ok {
		return nil, nil //nolint:nilnil // nothing that we wrote: as if it were not there, the row decides
	}
	if fingerprint != string(req.Fingerprint[:]) {
		return nil, ErrKeyReused
	}
	return &answer, nil
}

// settle replaces the claim by the answer, for what is left of its row's life. Nobody waits for it: until it is written,
// and when it never is, a repeat meets the claim and asks the row.
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
		c.set.lane.Post(ctx, redis.NewStatusCmd(ctx, "set", c.key, pack(req.Fingerprint, a), "px", left.Milliseconds()))
	}
	c.unlock(ctx)
}

// release gives the key back, as nothing was stored under it. It is waited for: until it is done, repeats are told to
// come back later.
func (c claim) release(ctx context.Context) {
	if c.set == nil {
		return
	}
	if c.key != "" {
		if _, err := releaseScript.Run(ctx, c.set.lane, append(releaseScript.Words(1, 2), c.key, c.value)); err != nil {
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
	return "{" + hex.EncodeToString(req.Caller[:]) + "}:idem:" + c.timeline() + ":" + base64.RawURLEncoding.EncodeToString(digest[:])
}

// newClaim is 'C', sixteen bytes that name the owner, and the fingerprint.
func newClaim(req Request) string {
	b := make([]byte, 17, claimSize)
	b[0] = claimMark
	_, _ = rand.Read(b[1:]) // never fails: crypto/rand aborts the program rather than return an error
	return string(append(b, req.Fingerprint[:]...))
}
