package ratelimit

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func clients(t require.TestingT, text string) *Clients {
	policies, err := ParseClients(text)
	require.NoError(t, err)
	c, err := NewClients(policies, nil, 1)
	require.NoError(t, err)
	return c
}

func TestParseClients(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]map[string][]Policy{
		"off":     {"": nil},
		"6000/1m": {"": {{"client", 6000, time.Minute}}},
		"6000/1m; partner-7=60000/1m,1000000/24h ;batch=off": {
			"": {{"client", 6000, time.Minute}}, "batch": nil,
			"partner-7": {{"client-60s", 60000, time.Minute}, {"client-86400s", 1000000, 24 * time.Hour}},
		},
		"partner=1/1s": {"partner": {{"client", 1, time.Second}}},
	} {
		got, err := ParseClients(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, got, text)
	}
	for _, text := range []string{"", "6000", "=6000/1m", "a=", "a=1/1m;a=2/1m", "1/1m;2/1m", "a=1/1m;", ";", "a=b=1/1m"} {
		_, err := ParseClients(text)
		require.Error(t, err, "%q", text)
		assert.NotContains(t, err.Error(), "b=1", "a setting is not quoted")
	}
}

// An application has one quota for all its users, an application with a line of its own has that one, and what says nothing
// of its application is charged to none.
func TestClientsHaveAQuotaOfTheirOwn(t *testing.T) {
	t.Parallel()
	c := clients(t, "3/1h;big=5/1h;free=off")
	admitted := func(id string, key uuid.UUID) (n int) {
		for range 10 {
			if c.Open(id, key).Take(t.Context()) == nil {
				n++
			}
		}
		return n
	}
	one, two := uuid.New(), uuid.New()
	assert.Equal(t, 3, admitted("app", one))
	assert.Equal(t, 0, admitted("app", one))
	assert.Equal(t, 3, admitted("other", two))
	assert.Equal(t, 5, admitted("big", uuid.New()))
	assert.Equal(t, 10, admitted("free", uuid.New()))
	assert.Equal(t, 10, admitted("", uuid.New()))
	assert.Nil(t, clients(t, "off"))
	assert.Nil(t, clients(t, "off;a=off"))
	assert.Nil(t, (*Clients)(nil).Open("app", one))

	e := c.Open("app", one)
	var refused *RefusedError
	require.ErrorAs(t, e.Take(t.Context()), &refused)
	assert.Equal(t, []string{"client"}, refused.Policies)
	h := http.Header{}
	e.RefusalFields(h)
	assert.Equal(t, `"client";q=3;w=3600, "client-replays";q=30;w=3600`, h.Get("RateLimit-Policy"))
	assert.Contains(t, h.Get("RateLimit"), `"client";r=0;t=`)
	h = http.Header{}
	c.Open("app", two).RefusalFields(h)
	assert.Empty(t, h, "who is served learns nothing of the others")
}

// What is given back is there again, and never more than was taken: from a lease, on credit, and in this process alone.
func TestWhatIsGivenBackIsThereAgain(t *testing.T) {
	t.Parallel()
	lane, server := clocked(t)
	for name, o := range map[string]Options{"redis": {Lane: lane}, "local": {}} {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				now := start
				server.SetTime(now)
				o := o
				o.Leased, o.Now = true, func() time.Time { return now }
				const quota = 60
				l := limit(t, o, fmt.Sprint(quota, "/10s"))
				caller := uuid.New()
				kept := 0
				for range rapid.IntRange(1, 300).Draw(t, "calls") {
					c := l.Open(caller)
					if c.Take(t.Context()) != nil {
						continue
					}
					if rapid.Bool().Draw(t, "refused elsewhere") {
						c.GiveBack()
						c.GiveBack() // no more than once
						continue
					}
					kept++
				}
				left := 0
				for l.Open(caller).Take(t.Context()) == nil {
					left++
				}
				// A lease that ran out on what was given back leaves its rest with Redis, as always.
				require.LessOrEqual(t, kept+left, quota+quota/creditPart)
				require.GreaterOrEqual(t, kept+left, quota-quota/creditPart)
			})
		})
	}
}

// RL-08: a class that is closed while Redis is away refuses, says why, and opens again with it. Without any Redis there is
// nothing that could be away.
func TestRL08AClosedClassRefusesWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	server := miniredis.RunT(t)
	l := limit(t, Options{Lane: laneTo(t, "redis://"+server.Addr()), WhenAway: Closed, Leased: true}, "10/1h")
	calls := map[string]func(*Charge) error{
		"one": func(c *Charge) error { return c.One(t.Context()) }, "take": func(c *Charge) error { return c.Take(t.Context()) },
		"alone": func(c *Charge) error { return c.Alone(t.Context()) },
	}
	require.NoError(t, calls["one"](l.Open(uuid.New())))
	server.Close()
	for name, call := range calls {
		caller := uuid.New()
		for i := range 5 {
			c := l.Open(caller)
			err := call(c)
			if name == "take" && i == 0 {
				require.NoError(t, err, "on credit: Redis is not asked")
				continue
			}
			require.ErrorIs(t, err, ErrAway, name)
			var refused *RefusedError
			assert.NotErrorAs(t, err, &refused, "it is not the caller's doing")
			assert.True(t, c.Free())
		}
	}
	require.NoError(t, server.Restart())
	require.Eventually(t, func() bool { return l.Open(uuid.New()).One(t.Context()) == nil }, 20*time.Second, 10*time.Millisecond)

	none := limit(t, Options{WhenAway: Closed}, "2/1h")
	require.NoError(t, none.Open(uuid.New()).Alone(t.Context()))
}

func TestParseWhenAway(t *testing.T) {
	t.Parallel()
	classes := func() map[string]WhenAway { return map[string]WhenAway{"checkout": Open, "rest": Share} }
	for text, want := range map[string]map[string]WhenAway{
		"":                          {"checkout": Open, "rest": Share},
		"rest=closed":               {"checkout": Open, "rest": Closed},
		"checkout=share, rest=open": {"checkout": Share, "rest": Open},
	} {
		got := classes()
		require.NoError(t, ParseWhenAway(text, got), text)
		assert.Equal(t, want, got)
	}
	for _, text := range []string{"rest", "rest=", "rest=shut", "nothing=open", "rest=open,", "=open"} {
		require.Error(t, ParseWhenAway(text, classes()), "%q", text)
	}
}
