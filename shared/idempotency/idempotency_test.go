package idempotency

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	sharedredis "github.com/company/order-catalog-service/shared/redis"
)

// IK-01 and IK-07.
func TestParseKey(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		values []string
		want   string
		err    error
	}{
		{[]string{"abc"}, "abc", nil},
		{[]string{`"abc"`}, "abc", nil},
		{[]string{`"a\"b\\c"`}, `a"b\c`, nil},
		{[]string{strings.Repeat("x", 255)}, strings.Repeat("x", 255), nil},
		{nil, "", ErrKeyMissing},
		{[]string{""}, "", ErrKeyInvalid},
		{[]string{`""`}, "", ErrKeyInvalid},
		{[]string{"a", "b"}, "", ErrKeyInvalid},
		{[]string{strings.Repeat("x", 256)}, "", ErrKeyInvalid},
		{[]string{`"abc`}, "", ErrKeyInvalid},
		{[]string{`"abc"x`}, "", ErrKeyInvalid},
		{[]string{`"a\bc"`}, "", ErrKeyInvalid},
		{[]string{`"abc\`}, "", ErrKeyInvalid},
		{[]string{"a\tb"}, "", ErrKeyInvalid},
		{[]string{"ключ"}, "", ErrKeyInvalid},
	} {
		got, err := ParseKey(c.values)
		require.ErrorIs(t, err, c.err, "%q", c.values)
		assert.Equal(t, c.want, got)
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add("abc")
	f.Add(`"a\"b"`)
	f.Add(`"`)
	f.Fuzz(func(t *testing.T, value string) {
		key, err := ParseKey([]string{value})
		if err != nil {
			return
		}
		require.NotEmpty(t, key)
		require.LessOrEqual(t, len(key), MaxKey)
		for i := range len(key) {
			require.True(t, key[i] >= ' ' && key[i] <= '~')
		}
	})
}

// IK-10, with RFC 8785's own example of numbers, strings and sorting.
func TestCanonical(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		`{ "b" : 1, "a":[true , null] }`:                        `{"a":[true,null],"b":1}`,
		`[333333333.33333329, 1E30, 4.50, 2e-3, 1e-27, -0]`:     `[333333333.3333333,1e+30,4.5,0.002,1e-27,0]`,
		`"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/"`:       `"€$\u000f\nA'B\"\\\\\"/"`,
		`{"\ud83d\ude00":1,"\ufb33":2,"\u20ac":3,"1":4,"\r":5}`: "{\"\\r\":5,\"1\":4,\"€\":3,\"😀\":1,\"\ufb33\":2}",
		`1e21`: `1e+21`, `1e20`: `100000000000000000000`, `0.000001`: `0.000001`, `1e-7`: `1e-7`,
	} {
		got, err := Canonical([]byte(raw))
		require.NoError(t, err, raw)
		assert.Equal(t, want, string(got))
	}
	for _, raw := range []string{
		``, `{`, `{"a":1}{`, `{"a":1,"a":2}`, `{"a":1,"\u0061":2}`, `{a:1}`, `[1,]`, "\"\xff\"", `1e400`, `nul`,
		strings.Repeat("[", 40) + strings.Repeat("]", 40),
	} {
		_, err := Canonical([]byte(raw))
		require.ErrorIs(t, err, ErrJSON, "%q", raw)
		assert.NotContains(t, err.Error(), "json:", "the library's words stay inside")
	}
}

func FuzzCanonical(f *testing.F) {
	f.Add(`{"b":1,"a":[1.50,"x\u0000",null]}`)
	f.Add(`[[[[]]]]`)
	f.Add(`{"\ud83d\ude00":-0.0,"\ud800x":12345678901234567890,"":{}, "a" : [ ] , "b":1e-400}`)
	f.Add(`{"a":1,"b":{"d":true,"c":false},"a":1}`)
	f.Add(`[1,2,]`)
	f.Add(`{"a":1,}`)
	f.Fuzz(func(t *testing.T, raw string) {
		once, err := Canonical([]byte(raw))
		want, refused := oracle([]byte(raw))
		require.Equal(t, refused == nil, err == nil, "%v, the standard library: %v", err, refused)
		if err != nil {
			return
		}
		require.Equal(t, string(want), string(once))
		require.True(t, json.Valid(once), "%s", once)
		twice, err := Canonical(once)
		require.NoError(t, err)
		require.Equal(t, string(once), string(twice), "canonical form is its own canonical form")
	})
}

// CX-18: no two different triples share a digest by moving a character from one part to the next.
func TestCX18DigestsDoNotRunTogether(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a := Request{Operation: rapid.String().Draw(t, "op1"), Key: rapid.String().Draw(t, "key1")}
		b := Request{Operation: rapid.String().Draw(t, "op2"), Key: rapid.String().Draw(t, "key2")}
		require.Equal(t, a.Operation == b.Operation && a.Key == b.Key, a.Digest() == b.Digest())
	})
	require.NotEqual(t, Request{Operation: "a", Key: "bc"}.Digest(), Request{Operation: "ab", Key: "c"}.Digest())
	require.NotEqual(t, Fingerprint("GET", "/a", []byte("b")), Fingerprint("GET", "/ab", nil))
}

func testClaims(t *testing.T) (*claims, *miniredis.Miniredis, *string) {
	t.Helper()
	server := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { _ = client.Close() })
	timeline := "00000001"
	m, err := newMetrics()
	require.NoError(t, err)
	lane, err := sharedredis.NewLane(client)
	require.NoError(t, err)
	return &claims{lane: lane, timeline: func() string { return timeline }, metrics: m}, server, &timeline
}

func request(fingerprint byte) Request {
	r := Request{Caller: uuid.New(), Operation: "place-order", Key: "k"}
	r.Fingerprint[0] = fingerprint
	return r
}

// CX-16: a claim has an owner and a life; only its owner gives it back.
func TestCX16ClaimsBelongToTheirOwner(t *testing.T) {
	t.Parallel()
	c, server, _ := testClaims(t)
	ctx, req := context.Background(), request(1)
	first, known, err := c.take(ctx, req, 10*time.Second)
	require.NoError(t, err)
	require.Nil(t, known)
	_, _, err = c.take(ctx, req, 10*time.Second)
	require.ErrorIs(t, err, ErrInFlight)
	other := req
	other.Fingerprint[0] = 2
	_, _, err = c.take(ctx, other, 10*time.Second)
	require.ErrorIs(t, err, ErrKeyReused)

	server.FastForward(11 * time.Second) // the owner died
	second, known, err := c.take(ctx, req, 10*time.Second)
	require.NoError(t, err)
	require.Nil(t, known)
	first.release(ctx) // and comes back
	_, _, err = c.take(ctx, req, 10*time.Second)
	require.ErrorIs(t, err, ErrInFlight, "the second owner's claim stands")
	second.release(ctx)
	third, _, err := c.take(ctx, req, 10*time.Second)
	require.NoError(t, err, "a released key is free")
	third.release(ctx)
}

// CX-20 and CX-09: a cached answer lives as long as its row, and not on another timeline.
func TestCX20AndCX09CachedAnswers(t *testing.T) {
	t.Parallel()
	c, server, timeline := testClaims(t)
	ctx, req := context.Background(), request(1)
	held, _, err := c.take(ctx, req, time.Second)
	require.NoError(t, err)
	held.settle(ctx, req, Answer{Status: 201, Body: []byte("order")}, 90*time.Second)
	_, known, err := c.take(ctx, req, time.Second)
	require.NoError(t, err)
	require.NotNil(t, known)
	assert.Equal(t, "order", string(known.Body))
	assert.True(t, known.Replayed)
	assert.Equal(t, 90*time.Second, server.TTL(c.redisKey(req)), "what is left of the row, not a day")
	assert.True(t, strings.HasPrefix(c.redisKey(req), "{"+hex.EncodeToString(req.Caller[:])+"}"), "the caller is the hash tag")

	*timeline = "00000002"
	_, known, err = c.take(ctx, req, time.Second)
	require.NoError(t, err)
	assert.Nil(t, known, "after a failover the row decides")
}

func TestWhatIsNotOursInRedisIsIgnored(t *testing.T) {
	t.Parallel()
	c, server, _ := testClaims(t)
	req := request(1)
	for _, value := range []string{"C", "Cshort", "A", "A{", "?", "A" + strings.Repeat("x", 40), "A" + strings.Repeat("\xff", 40)} {
		require.NoError(t, server.Set(c.redisKey(req), value))
		_, known, err := c.take(context.Background(), req, time.Second)
		require.NoError(t, err, value)
		assert.Nil(t, known, value)
	}
}

// The in-process fold compares fingerprints (CX-16) and lets the next one in.
func TestFlights(t *testing.T) {
	t.Parallel()
	var f flights
	key, one, two := [32]byte{1}, [32]byte{1}, [32]byte{2}
	leave, err := f.enter(key, one)
	require.NoError(t, err)
	_, err = f.enter(key, one)
	require.ErrorIs(t, err, ErrInFlight)
	_, err = f.enter(key, two)
	require.ErrorIs(t, err, ErrKeyReused)
	leave()
	leave, err = f.enter(key, two)
	require.NoError(t, err)
	leave()
	assert.Empty(t, f.keys)
}

// What an order's body costs to read.
func BenchmarkCanonical(b *testing.B) {
	body := []byte(`{"customerId":"customer-1","shippingAddress":{"name":"A Customer","line1":"1 Main Street","city":"Springfield","postalCode":"12345","country":"US"},"lines":[{"productId":"018cc251-f400-7000-8000-000000000001","quantity":1},{"productId":"018cc251-f400-7000-8000-000000000002","quantity":2}]}`)
	for name, read := range map[string]func([]byte) ([]byte, error){"own": Canonical, "standard library": oracle} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := read(body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
