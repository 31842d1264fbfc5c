package ratelimit

import (
	"net/http"
	"testing"
	"time"

	"github.com/dunglas/httpsfv"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// FuzzPolicies: a setting that is taken makes limits that work and headers that are structured fields.
func FuzzPolicies(f *testing.F) {
	for _, seed := range []string{"100/1m", "off", "0", "1/1s,2/2s,3/3s,4/4s", "16777215/24h", "9999999999999999999/1m", "1/1e9s", "1/1h1m1s", " 1/1s , 2/2s", "+1/1s"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		list, err := Parse("c", text)
		if err != nil {
			require.ErrorIs(t, err, errPolicy)
			return
		}
		require.LessOrEqual(t, len(list), maxPolicies)
		l, err := New(Options{Class: "c", Policies: list})
		require.NoError(t, err)
		if l == nil {
			return
		}
		for _, p := range list {
			require.True(t, p.Quota > 0 && p.Quota <= maxQuota && p.Window >= time.Second && p.Window <= 24*time.Hour && p.Window%time.Second == 0, "%+v", p)
		}
		c, h := l.Open(uuid.New()), http.Header{}
		require.NoError(t, c.Take(t.Context()))
		c.Fields(h)
		for _, name := range []string{"RateLimit", "RateLimit-Policy"} {
			_, err := httpsfv.UnmarshalList(h.Values(name))
			require.NoError(t, err, "%v", h)
		}
	})
}

// FuzzClients is the same for the setting of applications.
func FuzzClients(f *testing.F) {
	for _, seed := range []string{"off", "6000/1m", "6000/1m;a=1/1s", "a=off;b=1/1m,2/1h", ";;", "a=b=c", "=1/1s"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		list, err := ParseClients(text)
		if err != nil {
			return
		}
		require.LessOrEqual(t, len(list), maxNamed+1)
		c, err := NewClients(list, nil, 1)
		require.NoError(t, err)
		for id := range list {
			require.NoError(t, c.Open(id, uuid.New()).Take(t.Context()))
		}
	})
}

func FuzzWhenAway(f *testing.F) {
	for _, seed := range []string{"", "rest=closed", "checkout=open,rest=share", "rest", "rest=closed,"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		classes := map[string]WhenAway{"checkout": Open, "rest": Share}
		if ParseWhenAway(text, classes) != nil {
			return
		}
		require.Len(t, classes, 2, "no class is made")
		for _, w := range classes {
			require.LessOrEqual(t, w, Closed)
		}
	})
}

// FuzzStandings reads what Redis said, which a broken or foreign script may have written.
func FuzzStandings(f *testing.F) {
	for _, seed := range []string{"99 59000", "1 2 3 4", "-1 -1", "x y", "", "9999999999999999999999 1", "5", "5 1 "} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, said string) {
		l := limit(t, Options{}, "5/1m,6/1h")
		c, h := l.Open(uuid.New()), http.Header{}
		_ = c.Counted(t.Context(), true, said, false)
		c.Fields(h)
		if values := h.Values("RateLimit"); len(values) > 0 {
			_, err := httpsfv.UnmarshalList(values)
			require.NoError(t, err, "%q", values)
		}
	})
}
