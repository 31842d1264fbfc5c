package secrets_test

import (
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/secrets"
	"github.com/company/order-catalog-service/tests/kit"
)

// soon is how long a test waits for what a look at the vault brings.
const soon = 10 * time.Second

// A new password is used at once. A new key is read at once and used for making only when every process knows it.
func TestARotationIsSeenWithoutARestart(t *testing.T) {
	a := kit.NewAzure(t)
	now := &clock{at: time.Now()}
	a.SetAt(secrets.PostgreSQL, "old", ago(time.Hour))
	a.SetAt(secrets.WebhookSecret, "old", ago(time.Hour))
	o := options(t, a, secrets.PostgreSQL, secrets.WebhookSecret)
	o.Every, o.Now = 100*time.Millisecond, now.now
	s, err := secrets.Open(t.Context(), o)
	require.NoError(t, err)
	var told atomic.Int32
	s.OnChange(func() { told.Add(1) })
	run(t, s)

	a.Set(secrets.PostgreSQL, "new")
	a.Set(secrets.WebhookSecret, "new")
	require.Eventually(t, func() bool { return s.Get(secrets.PostgreSQL) == "new" && len(s.Keys(secrets.WebhookSecret)) == 2 }, soon, 5*time.Millisecond)
	assert.Equal(t, []string{"old", "new"}, texts(s.Keys(secrets.WebhookSecret)), "others may not know the new one yet")
	assert.True(t, s.Settles(secrets.WebhookSecret).After(now.now()))
	require.Eventually(t, func() bool { return told.Load() > 0 }, soon, time.Millisecond)

	before := told.Load()
	now.forward(2 * time.Minute)
	require.Eventually(t, func() bool { return told.Load() > before }, soon, 5*time.Millisecond, "time alone changes what is made with")
	assert.Equal(t, []string{"new", "old"}, texts(s.Keys(secrets.WebhookSecret)))
	assert.Zero(t, s.Settles(secrets.WebhookSecret))

	// Each version's value was fetched once, however often its list was read.
	asked, _ := a.Log()
	fetched := map[string]int{}
	for _, line := range asked {
		if strings.HasPrefix(line, "200 ") && !strings.HasSuffix(line, "/versions") {
			fetched[line]++
		}
	}
	assert.Len(t, fetched, 4)
	for line, times := range fetched {
		assert.Equal(t, 1, times, line)
	}

	still := told.Load()
	looks, _ := a.Log()
	require.Eventually(t, func() bool { // three looks at two secrets
		asked, _ := a.Log()
		return len(asked) >= len(looks)+6
	}, soon, 5*time.Millisecond)
	assert.Equal(t, still, told.Load(), "nothing changes, nobody is told")
}

// A version that is disabled is out at the next look; the last one that there was stays in use.
func TestAWithdrawnVersionIsDropped(t *testing.T) {
	a := kit.NewAzure(t)
	old := a.SetAt(secrets.WebhookSecret, "old", ago(2*time.Hour))
	newer := a.SetAt(secrets.WebhookSecret, "new", ago(time.Hour))
	o := options(t, a, secrets.WebhookSecret)
	log := &journal{}
	o.Every, o.Logger = 100*time.Millisecond, slog.New(slog.NewTextHandler(log, nil))
	s, err := secrets.Open(t.Context(), o)
	require.NoError(t, err)
	run(t, s)
	a.Change(func() { old.Enabled = false })
	require.Eventually(t, func() bool { return len(s.Keys(secrets.WebhookSecret)) == 1 }, soon, 5*time.Millisecond)
	a.Change(func() { newer.Enabled = false })
	require.Eventually(t, func() bool { return strings.Contains(log.String(), "is in neither") }, soon, 5*time.Millisecond)
	assert.Equal(t, "new", s.Get(secrets.WebhookSecret))
}

// A vault that is away later costs a warning. One secret that can't be read keeps its value; the others go on.
func TestAnOutageKeepsTheOldValues(t *testing.T) {
	a := kit.NewAzure(t)
	a.SetAt(secrets.PostgreSQL, "hush-1", ago(time.Hour))
	a.SetAt(secrets.WebhookSecret, "hush-2", ago(time.Hour))
	log := &journal{}
	o := options(t, a, secrets.PostgreSQL, secrets.WebhookSecret)
	o.Every, o.Logger = 100*time.Millisecond, slog.New(slog.NewTextHandler(log, nil))
	s, err := secrets.Open(t.Context(), o)
	require.NoError(t, err)
	run(t, s)
	a.Fault(func(w http.ResponseWriter, r *http.Request) bool {
		return strings.Contains(r.URL.Path, secrets.WebhookSecret) && kit.Hang(w, r)
	})
	a.Set(secrets.PostgreSQL, "hush-3")
	a.Set(secrets.WebhookSecret, "hush-4")
	require.Eventually(t, func() bool {
		return s.Get(secrets.PostgreSQL) == "hush-3" && strings.Contains(log.String(), "the old values stay")
	}, soon, 5*time.Millisecond)
	assert.Equal(t, "hush-2", s.Get(secrets.WebhookSecret))
	assert.NotContains(t, log.String(), "hush", "no value is ever logged")
	a.Fault(nil)
	require.Eventually(t, func() bool { return s.Get(secrets.WebhookSecret) == "hush-4" }, soon, 5*time.Millisecond)
}

// Who was refused with what it has asks for a look before its time, and however many ask, the next one is a pause away.
func TestHurryLooksBeforeItsTime(t *testing.T) {
	a := kit.NewAzure(t)
	a.SetAt(secrets.PostgreSQL, "old", ago(time.Hour))
	s := open(t, a, secrets.PostgreSQL) // every five minutes
	run(t, s)
	a.Set(secrets.PostgreSQL, "new")
	asked, _ := a.Log()
	before := len(asked)
	for range 100 {
		s.Hurry()
	}
	require.Eventually(t, func() bool { return s.Get(secrets.PostgreSQL) == "new" }, soon, 5*time.Millisecond)
	asked, _ = a.Log()
	assert.LessOrEqual(t, len(asked), before+2, "one list, one value")
}
